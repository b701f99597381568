"""The violation for a guest whose QEMU crashed contains the last messages of QEMU's log."""

import pytest

from migqual.observe.split_brain import extract_last_messages

pytestmark = pytest.mark.selftest

CRASHED_QEMU_LOG = """\
-sandbox on,obsolete=deny \\
-msg timestamp=on
2026-11-26 15:18:44.454+0000: Domain id=8 is tainted: high-privileges
2026-11-26 15:18:57.545+0000: initiating migration
2026-11-26T15:18:57.831134Z qemu-system-x86_64: Unable to write to socket: Broken pipe
qemu-system-x86_64: ../../util/yank.c:107: yank_unregister_instance: Assertion failed.
2026-11-26 15:18:58.069+0000: shutting down, reason=crashed
"""


def test_last_log_messages_include_the_crash_reason() -> None:
    """The last messages of QEMU's log contain the reason for the crash.

    QEMU's command line and libvirt's message about a tainted domain are left out.
    """
    messages = extract_last_messages(CRASHED_QEMU_LOG)

    assert "Assertion failed. | 2026-11-26 15:18:58.069+0000: shutting down" in messages
    assert "tainted" not in extract_last_messages("\n".join(CRASHED_QEMU_LOG.splitlines()[:4]))
    assert extract_last_messages("-msg timestamp=on") == ""
