"""Missing post-copy support is distinguished from other reasons for a refused migration."""

import pytest

from suites.support.postcopy import is_postcopy_unsupported

pytestmark = pytest.mark.selftest


@pytest.mark.parametrize(
    "message",
    [
        "unable to execute QEMU command 'migrate-set-capabilities': Postcopy is not supported",
        "Postcopy is not supported: Userfaultfd not available: Operation not permitted",
        "Post-copy migration is not supported with this QEMU binary",
        "Migration option 'postcopy-ram' is not supported by QEMU binary",
    ],
)
def test_postcopy_unsupported_is_recognized_by_message(message: str) -> None:
    """
    The messages of libvirt and QEMU about missing post-copy support are recognized.

    Expected: QEMU's message is recognized with and without a reason, such as a denied userfaultfd.
    """
    assert is_postcopy_unsupported(message)


@pytest.mark.parametrize(
    "message",
    [
        "Postcopy is not compatible with ignore-shared",
        "operation failed: migration of domain with shared memory is not supported",
        "operation aborted: migration out: canceled by client; switch to post-copy: timed out",
        "",
    ],
)
def test_other_messages_are_not_postcopy_unsupported(message: str) -> None:
    """A refusal because of the plan or the guest does not show that the host lacks post-copy."""
    assert not is_postcopy_unsupported(message)
