"""A guest that ran on two hosts, or whose QEMU crashed, is reported with what is known."""

import pytest

from migqual.errors import InconclusiveError
from migqual.model.guest_event import GuestEvent
from migqual.model.outcome import MigrationStatus, Outcome
from migqual.model.plan import Plan
from migqual.model.run_intervals import ClockDifference
from migqual.observe.split_brain import extract_last_messages, find_overlap_violations

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


def build_outcome(*events: tuple[str, str, int], error_us: int = 0) -> Outcome:
    """Build the outcome of a completed migration from a1 to b1 with events (host, name, µs)."""
    return Outcome(
        Plan(),
        "g",
        "a1",
        "b1",
        "virsh",
        MigrationStatus.COMPLETED,
        1.0,
        events=tuple(GuestEvent(host, name, 0.0, at_us) for host, name, at_us in events),
        clock_difference=ClockDifference(error_us=error_us),
    )


def test_guest_that_ran_on_both_hosts_is_a_violation() -> None:
    overlap = build_outcome(("b1", "RESUME", 1000), ("a1", "STOP", 3000))
    forever = build_outcome(("a1", "STOP", 1), ("b1", "RESUME", 2), ("a1", "RESUME", 3))

    assert find_overlap_violations(overlap) == [
        "split brain: g ran on a1 and b1 at the same time for 2.0 ms"
    ]
    assert find_overlap_violations(forever)[0].endswith("at the same time until the end")
    assert find_overlap_violations(build_outcome(("a1", "STOP", 1), ("b1", "RESUME", 2))) == []


@pytest.mark.parametrize(
    ("events", "error_us", "reason"),
    [
        ((("a1", "STOP", 1000),), 0, "no RESUME"),
        ((("b1", "RESUME", 1000),), 0, "no STOP"),
        ((("a1", "STOP", 1000), ("b1", "RESUME", 2000)), 20_000, "error is 20.0 ms"),
    ],
    ids=["no-resume", "no-stop", "clocks"],
)
def test_unknown_times_are_inconclusive(
    events: tuple[tuple[str, str, int], ...], error_us: int, reason: str
) -> None:
    """Without STOP or RESUME, or with inexact clocks, the check for split brain is inconclusive.

    STOP is QEMU's event at the source, RESUME at the destination. The clocks of the hosts are
    inexact if the error of their measured difference is more than 10 ms. In these cases, migqual
    cannot exclude that the guest ran on both hosts at the same time.
    """
    with pytest.raises(InconclusiveError, match=reason):
        find_overlap_violations(build_outcome(*events, error_us=error_us))
