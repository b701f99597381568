"""What the log of a QEMU that should run and does not says at its end."""

import pytest

from migqual.observe.copies import last_words

pytestmark = pytest.mark.selftest

CRASHED = """\
-sandbox on,obsolete=deny \\
-msg timestamp=on
2026-11-26 15:18:44.454+0000: Domain id=8 is tainted: high-privileges
2026-11-26 15:18:57.545+0000: initiating migration
2026-11-26T15:18:57.831134Z qemu-system-x86_64: Unable to write to socket: Broken pipe
qemu-system-x86_64: ../../util/yank.c:107: yank_unregister_instance: Assertion failed.
2026-11-26 15:18:58.069+0000: shutting down, reason=crashed
"""


def test_the_reason_is_among_the_last_words() -> None:
    """Its command line and libvirt's notes of what tainted it are not."""
    said = last_words(CRASHED)

    assert "Assertion failed. | 2026-11-26 15:18:58.069+0000: shutting down" in said
    assert "tainted" not in last_words("\n".join(CRASHED.splitlines()[:4]))
    assert last_words("-msg timestamp=on") == ""
