"""Faults that a test injects into a migration, and the check that each fault hit the phase."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from migqual.errors import InconclusiveError
from migqual.model.migration_phase import MigrationPhase


@dataclass
class InjectedFault:
    """A fault that a test injected into a migration while migqual held the migration in a phase.

    Attributes:
        name: Name of the fault.
        phase: Phase of the migration just before the fault.
        requested_s: Time just before the injection, in s since the start of the event log of the
            migration.
        in_force_s: Time at which the injection was complete, also in s since the start of the event
            log. None for a fault that lasts no time, for example the end of a process.
    """

    name: str
    phase: MigrationPhase
    requested_s: float
    in_force_s: float | None = None


def require_faults_in_phase(
    faults: Iterable[InjectedFault],
    phase: MigrationPhase,
    find_phase_at: Callable[[float], MigrationPhase],
) -> None:
    """Check that each fault began and came into force while the migration was in the phase.

    Args:
        faults: The faults of the migration.
        phase: The phase in which migqual held the migration.
        find_phase_at: Returns the phase at a time, according to the events of both hosts. The time
            is in s since the start of the event log of the migration.

    Raises:
        InconclusiveError: The migration was in another phase when a fault began or came into force.
    """
    for fault in faults:
        for at_s in (fault.requested_s, fault.in_force_s):
            if at_s is not None and (found_phase := find_phase_at(at_s)) is not phase:
                raise InconclusiveError(
                    f"the fault {fault.name} did not fall in the phase {phase}: "
                    f"the migration was in the phase {found_phase}"
                )
