"""Track the phase of a running migration with the events of the guest and the job samples."""

import time
from dataclasses import dataclass, field

from migqual.hosts.host import Host
from migqual.model.job_stats import JobStats
from migqual.model.migration_phase import MigrationPhase, determine_phase
from migqual.observe.event_log import EventLog


@dataclass
class PhaseTracker:
    """The events and job samples of a migration, and the phases that follow from them.

    All times are in s since the event log began.
    """

    source: Host
    destination: Host
    event_log: EventLog
    _samples: list[tuple[float, JobStats]] = field(default_factory=list)

    def read_time_s(self) -> float:
        """Return the seconds since the event log began, by the monotonic clock of migqual."""
        return time.monotonic() - self.event_log.started_at

    def add_sample(self, stats: JobStats) -> None:
        """Add the statistics of the migration job at this moment."""
        self._samples.append((self.read_time_s(), stats))

    def query_phase(self) -> MigrationPhase:
        """Return the phase of the migration now, by the events received until now."""
        return self.find_phase_at(self.read_time_s())

    def find_phase_at(self, at_s: float) -> MigrationPhase:
        """Return the phase of the migration at an earlier time."""
        events = tuple(event for event in self.event_log.events if event.at_s <= at_s)
        stats = next((stats for taken_s, stats in reversed(self._samples) if taken_s <= at_s), None)
        return determine_phase(events, self.source.name, stats)

    def is_ready_for_fault(self, phase: MigrationPhase) -> bool:
        """Return whether the migration is in `phase`, and has reached the point for a fault.

        In FIRST_ITERATION, QEMU must have sent guest memory. In POSTCOPY, the guest must run at the
        destination. The other phases have no further condition.
        """
        if self.query_phase() is not phase:
            return False
        if phase is MigrationPhase.POSTCOPY:  # QEMU at the destination dies of an earlier pause
            return any(
                event.host == self.destination.name and event.name == "RESUME"
                for event in self.event_log.events
            )
        if phase is not MigrationPhase.FIRST_ITERATION:
            return True
        return any(stats.memory_processed_bytes for _, stats in self._samples)
