"""The phase of a migration follows from the events of both hosts."""

import pytest

from migqual.model.guest_event import GuestEvent
from migqual.model.job_stats import JobStats
from migqual.model.migration_phase import (
    MigrationPhase,
    determine_phase,
    find_iteration_number,
    has_started_to_send,
)

pytestmark = pytest.mark.selftest

SETUP = GuestEvent("a1", "MIGRATION", 0.1, detail='{"status":"setup"}')
ACTIVE = GuestEvent("a1", "MIGRATION", 0.2, detail='{"status":"active"}')
FIRST_PASS = GuestEvent("a1", "MIGRATION_PASS", 0.2, detail='{"pass":1}')
SECOND_PASS = GuestEvent("a1", "MIGRATION_PASS", 0.4, detail='{"pass":2}')
STOP = GuestEvent("a1", "STOP", 0.5)


@pytest.mark.parametrize(
    ("events", "phase"),
    [
        ((), MigrationPhase.NOT_STARTED),
        ((SETUP,), MigrationPhase.SETUP),
        ((SETUP, ACTIVE, FIRST_PASS), MigrationPhase.FIRST_ITERATION),
        ((SETUP, ACTIVE, FIRST_PASS, SECOND_PASS), MigrationPhase.LATER_ITERATION),
        ((SETUP, ACTIVE, GuestEvent("a1", "iteration", 0.4, detail="2")),
         MigrationPhase.LATER_ITERATION),
        ((SETUP, ACTIVE, FIRST_PASS, STOP), MigrationPhase.SWITCH_OVER),
        ((SETUP, ACTIVE, GuestEvent("a1", "MIGRATION", 0.5, detail='{"status":"device"}')),
         MigrationPhase.SWITCH_OVER),
        ((SETUP, ACTIVE, STOP, GuestEvent("a1", "MIGRATION", 1, detail='{"status":"completed"}')),
         MigrationPhase.ENDED),
        ((SETUP, ACTIVE, GuestEvent("a1", "MIGRATION", 1, detail='{"status":"failed"}')),
         MigrationPhase.ENDED),
        ((SETUP, ACTIVE, STOP,
          GuestEvent("a1", "MIGRATION", 1, detail='{"status":"postcopy-active"}')),
         MigrationPhase.POSTCOPY),
        ((SETUP, ACTIVE, STOP,
          GuestEvent("a1", "MIGRATION", 1, detail='{"status":"postcopy-paused"}')),
         MigrationPhase.POSTCOPY_PAUSED),
        ((GuestEvent("b1", "MIGRATION", 1, detail='{"status":"active"}'),),
         MigrationPhase.NOT_STARTED),
    ],
)  # fmt: skip
def test_phase_follows_from_the_events(
    events: tuple[GuestEvent, ...], phase: MigrationPhase
) -> None:
    """The events of the source decide; an event of the destination does not change the phase."""
    assert determine_phase(events, "a1") is phase


def test_copied_bytes_of_disks_show_the_disk_copy() -> None:
    """If `disk_processed` is above 0 before the first event of QEMU, the phase is the disk copy.

    The job statistic `disk_processed` is the number of copied bytes of all disks.
    """
    assert determine_phase((), "a1", JobStats({"disk_processed": 1})) is MigrationPhase.DISK_COPY
    assert determine_phase((), "a1", JobStats({})) is MigrationPhase.NOT_STARTED
    assert determine_phase((SETUP,), "a1", JobStats({"disk_processed": 1})) is MigrationPhase.SETUP


@pytest.mark.parametrize(
    ("events", "has_started"),
    [
        ((), False),
        ((SETUP, GuestEvent("a1", "MIGRATION", 0.3, detail='{"status":"failed"}')), False),
        ((SETUP, ACTIVE), True),
        ((GuestEvent("b1", "MIGRATION", 0.3, detail='{"status":"active"}'),), False),
        ((GuestEvent("a1", "JOB_STATUS_CHANGE", 0.3, detail='{"status":"created"}'),), False),
        ((GuestEvent("a1", "JOB_STATUS_CHANGE", 0.3, detail='{"status":"running"}'),), True),
    ],
)
def test_events_show_whether_data_moved(
    events: tuple[GuestEvent, ...], *, has_started: bool
) -> None:
    """QEMU has begun to send data if an event of the source has the status `active` or `running`.

    QEMU reports `active` for a migration, and `running` for a disk copy.
    """
    assert has_started_to_send(events, "a1") is has_started


def test_number_of_the_iteration() -> None:
    assert find_iteration_number((), "a1") == 0
    assert find_iteration_number((FIRST_PASS, SECOND_PASS), "a1") == 2
    assert find_iteration_number((SECOND_PASS,), "b1") == 0
