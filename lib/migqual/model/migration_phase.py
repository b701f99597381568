"""Determine the phase of a migration from the events of the guest and the job statistics."""

import json
from collections.abc import Sequence
from enum import StrEnum

from migqual.model.guest_event import GuestEvent
from migqual.model.job_stats import JobStats

_ENDED_STATUSES = {"completed", "failing", "failed", "cancelling", "cancelled"}
_POSTCOPY_STATUSES = {"postcopy-active", "postcopy-device"}
_SWITCH_OVER_STATUSES = {"pre-switchover", "device"}
# The other statuses of a migration that sends data follow `active`.
_SENDING_STATUSES = {("MIGRATION", "active"), ("JOB_STATUS_CHANGE", "running")}
_PASS_EVENTS = {"iteration", "MIGRATION_PASS"}  # event names of libvirt and of QEMU


class MigrationPhase(StrEnum):
    """Phase of a migration.

    Attributes:
        NOT_STARTED: libvirt prepares the migration, and no data has moved.
        DISK_COPY: The disks are copied, and QEMU has not begun with the memory.
        SETUP: QEMU at the source connects to QEMU at the destination.
        FIRST_ITERATION: QEMU sends all guest memory for the first time.
        LATER_ITERATION: QEMU sends the memory that the guest changed in the iteration before.
        SWITCH_OVER: The guest is stopped at the source and not yet running at the destination.
        POSTCOPY: The guest runs at the destination, and QEMU sends the rest of the memory.
        POSTCOPY_PAUSED: The post-copy migration lost its connection and waits for a recovery.
        ENDED: The migration has completed, failed, or was cancelled.
    """

    NOT_STARTED = "not-started"
    DISK_COPY = "disk-copy"
    SETUP = "setup"
    FIRST_ITERATION = "first-iteration"
    LATER_ITERATION = "later-iteration"
    SWITCH_OVER = "switch-over"
    POSTCOPY = "post-copy"
    POSTCOPY_PAUSED = "post-copy-paused"
    ENDED = "ended"


def determine_phase(
    events: Sequence[GuestEvent], source: str, stats: JobStats | None = None
) -> MigrationPhase:
    """Determine the phase of a migration at the time of the last event.

    Args:
        events: The events of the guest from both hosts, in order of time. For the phase at an
            earlier moment, pass only the events until this moment.
        source: Name of the source host.
        stats: Statistics of the job at the time of the last event. Without statistics the
            function returns NOT_STARTED instead of DISK_COPY.
    """
    status = find_migration_status(events, source)
    if status == "":
        is_copying = stats is not None and bool(stats.disk_processed_bytes)
        return MigrationPhase.DISK_COPY if is_copying else MigrationPhase.NOT_STARTED
    if status in _ENDED_STATUSES:
        return MigrationPhase.ENDED
    if status == "setup":
        return MigrationPhase.SETUP
    if status in _POSTCOPY_STATUSES:
        return MigrationPhase.POSTCOPY
    if status.startswith("postcopy-"):  # paused, recover-setup, recover
        return MigrationPhase.POSTCOPY_PAUSED
    is_stopped = any(event.host == source and event.name == "STOP" for event in events)
    if status in _SWITCH_OVER_STATUSES or is_stopped:
        return MigrationPhase.SWITCH_OVER
    is_later = find_iteration_number(events, source) > 1
    return MigrationPhase.LATER_ITERATION if is_later else MigrationPhase.FIRST_ITERATION


def find_migration_status(events: Sequence[GuestEvent], host: str) -> str:
    """Return the last status of QEMU's event MIGRATION at `host`, or "" without such an event."""
    details = [e.detail for e in events if e.host == host and e.name == "MIGRATION"]
    return str(json.loads(details[-1])["status"]) if details else ""


def has_started_to_send(events: Sequence[GuestEvent], source: str) -> bool:
    """Return whether the events show that QEMU at `source` began to send memory or disks.

    QEMU sends memory from the status `active` on. A disk copy is a block job that QEMU reports as
    `running`.
    """
    statuses = {
        (event.name, json.loads(event.detail).get("status"))
        for event in events
        if event.host == source and event.name in {"MIGRATION", "JOB_STATUS_CHANGE"}
    }
    return bool(statuses & _SENDING_STATUSES)


def find_iteration_number(events: Sequence[GuestEvent], source: str) -> int:
    """Return the number of the last iteration that an event names, or 0 without such an event."""
    numbers = [0]
    for event in events:
        if event.host == source and event.name in _PASS_EVENTS:
            is_number = event.detail.isdecimal()
            numbers.append(int(event.detail if is_number else json.loads(event.detail)["pass"]))
    return numbers[-1]
