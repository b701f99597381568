"""A host that lacks post-copy is told from a migration that was refused for another reason."""

import pytest

from suites.convergence.postcopy import lacking

pytestmark = pytest.mark.selftest


@pytest.mark.parametrize(
    "words",
    [
        "unable to execute QEMU command 'migrate-set-capabilities': Postcopy is not supported",
        "Postcopy is not supported: Userfaultfd not available: Operation not permitted",
        "Post-copy migration is not supported with this QEMU binary",
        "Migration option 'postcopy-ram' is not supported by QEMU binary",
    ],
)
def test_words_of_a_host_that_lacks_it(words: str) -> None:
    """QEMU's words, with and without its reason, and libvirt's."""
    assert lacking(words)


@pytest.mark.parametrize(
    "words",
    [
        "Postcopy is not compatible with ignore-shared",
        "operation failed: migration of domain with shared memory is not supported",
        "operation aborted: migration out: canceled by client; switch to post-copy: timed out",
        "",
    ],
)
def test_other_words(words: str) -> None:
    """What the plan or the guest rules out is no lack of the host."""
    assert not lacking(words)
