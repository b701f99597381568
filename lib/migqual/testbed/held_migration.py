"""Hold a migration in a phase, inject faults there, and then let the migration continue.

Example:
    Cut the link for two seconds in the first iteration over guest memory::

        cut = cut_migration_link(journal, testbed.source, testbed.destination)
        with hold_migration(testbed, guest, Plan(), MigrationPhase.FIRST_ITERATION) as held:
            with held.inject("link cut", cut):
                held.wait(2.0)
            held.release()
            migration = held.wait_for_end()
"""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from typing import TypeVar

from migqual.deadline import Deadline
from migqual.errors import HostError, InconclusiveError, TimedOut
from migqual.faults.link_cut import cut_migration_link
from migqual.faults.qemu_faults import freeze_qemu
from migqual.hosts.domain import Domain
from migqual.hosts.domain_job import start_postcopy
from migqual.hosts.guest import Guest
from migqual.hosts.host import Host
from migqual.migration.job_sampler import SampleAction
from migqual.model.migration_phase import MigrationPhase
from migqual.model.outcome import JobSample, Outcome
from migqual.model.plan import Plan, StorageCopy
from migqual.model.record import FaultRecord
from migqual.observe.event_log import EventLog, collect_events
from migqual.observe.split_brain import wait_for_removal_of_copies
from migqual.testbed.injected_fault import InjectedFault, require_faults_in_phase
from migqual.testbed.migration_hold import (
    build_held_plan,
    build_timeout_error,
    lift_block_job_limits,
    lift_limits,
)
from migqual.testbed.observers import ObservedMigration
from migqual.testbed.phase_tracker import PhaseTracker
from migqual.testbed.testbed import Testbed

T = TypeVar("T")

SWITCH_OVER_DOWNTIME_MS = 1_000_000  # QEMU switches over whatever is still to send
PHASE_SECONDS = 30.0
END_SECONDS = 90.0
POLL_SECONDS = 0.005
CONTROLLER = "controller"


@dataclass
class HeldMigration:
    """A migration that migqual keeps in a phase until `release`, for example by a low bandwidth.

    The migration runs in a separate thread.

    Attributes:
        phase: The phase in which migqual holds the migration.
        destination: The host to which the guest migrates.
        faults: The faults injected so far, oldest first.
    """

    testbed: Testbed
    guest: Guest
    plan: Plan
    phase: MigrationPhase
    source: Host
    destination: Host
    event_log: EventLog
    faults: list[InjectedFault] = field(default_factory=list)
    _domain: Domain = field(init=False)
    _tracker: PhaseTracker = field(init=False)
    _thread: threading.Thread = field(init=False)
    _migration: ObservedMigration | None = None
    _error: BaseException | None = None
    _aborts: bool = False
    _has_ended: threading.Event = field(default_factory=threading.Event)
    _checks_lock: threading.RLock = field(default_factory=threading.RLock)
    _hold_stack: ExitStack = field(default_factory=ExitStack)

    def __post_init__(self) -> None:
        self._domain = self.guest.domain
        self._tracker = PhaseTracker(self.source, self.destination, self.event_log)
        self._thread = threading.Thread(target=self._run, name="held migration", daemon=True)

    def start(self) -> None:
        """Start the migration, and wait until the migration has reached `self.phase`.

        Raises:
            InconclusiveError: The migration completed before it reached `self.phase`, or did not
                reach `self.phase` in time.
            MigrationError: The migration failed before it reached `self.phase`, although no fault
                was injected.
        """
        journal = self.testbed.probe_context.journal
        if self.phase is MigrationPhase.SETUP:
            link_cut = cut_migration_link(journal, self.source, self.destination)
            self._hold_stack.enter_context(link_cut)
        self._thread.start()
        if self.plan.copy_storage is not StorageCopy.NONE:
            self._wait_for(
                "the start of the disk copy",
                lambda: self.query_phase() is not MigrationPhase.NOT_STARTED,
            )
            if self.phase is not MigrationPhase.DISK_COPY:
                with suppress(HostError):  # the copy may have just ended
                    lift_block_job_limits(self._domain)
        if self.phase is MigrationPhase.SWITCH_OVER:
            self._wait_for_phase(MigrationPhase.FIRST_ITERATION)
            self._hold_stack.enter_context(freeze_qemu(journal, self.destination, self.guest))
            self._domain.set_max_downtime(SWITCH_OVER_DOWNTIME_MS)
        elif self.phase is MigrationPhase.POSTCOPY and not self.plan.postcopy_after_precopy:
            self._wait_for_phase(MigrationPhase.FIRST_ITERATION)
            start_postcopy(self._domain)
        self._wait_for_phase(self.phase)

    @property
    def is_running(self) -> bool:
        """Return whether the migration, or a check after the migration, still runs."""
        return self._thread.is_alive()

    @property
    def outcome(self) -> Outcome | None:
        """Return the outcome of the migration, or None if there is no outcome yet.

        The outcome exists when the migration has ended and migqual has checked the guest and the
        hosts.
        """
        return self._migration.outcome if self._migration is not None else None

    @property
    def fault_records(self) -> tuple[FaultRecord, ...]:
        """Return the faults injected so far, oldest first, in the format of the test's record."""
        return tuple(FaultRecord(fault.name, fault.phase.value) for fault in self.faults)

    def query_phase(self) -> MigrationPhase:
        """Return the phase of the migration now, by the events received until now."""
        return self._tracker.query_phase()

    @contextmanager
    def inject(self, name: str, fault: AbstractContextManager[T]) -> Iterator[T]:
        """Inject a fault while the block runs, and log when the fault began and ended.

        The checks after the migration wait for the end of the block.

        Args:
            name: Name of the fault for the log.
            fault: The fault, as a context manager.
        """
        injected_fault = InjectedFault(name, self.query_phase(), self._tracker.read_time_s())
        self.faults.append(injected_fault)
        self._log(f"{name}: begins")
        with self.delay_checks(), fault as value:
            injected_fault.in_force_s = self._tracker.read_time_s()
            self._log(f"{name}: is in force")
            yield value
        self._log(f"{name}: has ended")

    def inject_once(self, name: str, fault: Callable[[], None]) -> None:
        """Inject a fault that lasts no time, for example the end of a process.

        Args:
            name: Name of the fault for the log.
            fault: Injects the fault.
        """
        self.faults.append(InjectedFault(name, self.query_phase(), self._tracker.read_time_s()))
        self._log(f"{name}: begins")
        with self.delay_checks():
            fault()
        self._log(f"{name}: is done")

    @contextmanager
    def delay_checks(self) -> Iterator[None]:
        """Delay the checks after the migration until the block ends.

        In the block a test can for example resume a migration that lost its connection.
        """
        with self._checks_lock:
            yield

    def wait(self, seconds: float) -> None:
        """Wait for `seconds` while the migration stays in `self.phase`.

        Raises:
            InconclusiveError: The migration ended during the wait.
        """
        if self._has_ended.wait(seconds):
            raise InconclusiveError(
                f"the migration ended while migqual held it in the phase {self.phase}: "
                f"{self._describe()}"
            )

    def wait_for_job_end(self, seconds: float = END_SECONDS) -> None:
        """Wait until libvirt reports the end of the migration. A fault may be in force meanwhile.

        Raises:
            InconclusiveError: libvirt did not report the end within `seconds`.
        """
        if not self._has_ended.wait(seconds):
            raise build_timeout_error(self.guest.name, seconds)

    def release(self) -> None:
        """Let the migration leave `self.phase`.

        The method ends the low bandwidth, the link cut or the freeze of QEMU. No error occurs if a
        host does not answer, or if the migration has ended.
        """
        self._log("released")
        self._hold_stack.close()
        lift_limits(self._domain, self.phase)

    def wait_for_end(self, seconds: float = END_SECONDS) -> ObservedMigration:
        """Wait until the migration and the checks after the migration have ended.

        Returns:
            The outcome, the error of the migration and the violations.

        Raises:
            InconclusiveError: The migration did not end within `seconds`, or the migration was not
                in `self.phase` when a fault was injected.
            MigqualError: An error other than a `MigrationError` ended the migration.
        """
        self._thread.join(seconds)
        if self.is_running:
            raise build_timeout_error(self.guest.name, seconds)
        if self._error is not None:
            raise self._error
        assert self._migration is not None
        require_faults_in_phase(self.faults, self.phase, self._tracker.find_phase_at)
        return self._migration.add_late_overlap(self.event_log.events)

    def close(self) -> None:
        """Abort the migration if it still runs, and wait for the end."""
        self._aborts = True
        try:
            self._hold_stack.close()
        finally:
            if self._thread.ident is not None:  # the thread was started
                self._thread.join(END_SECONDS)

    def _run(self) -> None:
        try:
            self._migration = self.testbed.observe_migration(
                self.guest,
                build_held_plan(self.plan, self.phase),
                destination=self.destination,
                on_sample=self._on_sample,
                on_ended=self._on_ended,
            )
        except BaseException as error:  # noqa: BLE001 - `wait_for_end` raises the error
            self._error = error
        finally:
            self._has_ended.set()

    def _on_ended(self) -> None:
        self._has_ended.set()
        with self._checks_lock:  # free when no fault is in force
            pass
        wait_for_removal_of_copies(self.guest, self.testbed.hosts)

    def _on_sample(self, sample: JobSample) -> SampleAction | None:
        self._tracker.add_sample(sample.stats)
        return SampleAction.ABORT if self._aborts else None

    def _wait_for_phase(self, phase: MigrationPhase) -> None:
        self._wait_for(f"the phase {phase}", lambda: self._tracker.is_ready_for_fault(phase))

    def _wait_for(self, condition: str, is_true: Callable[[], bool]) -> None:
        """Wait until a condition of the running migration is true, for at most 30 s.

        Args:
            condition: The condition in words, for error messages.
            is_true: Returns whether the condition is true now.

        Raises:
            InconclusiveError: The migration completed before the condition was true, or the
                condition is still not true after 30 s.
            MigrationError: The migration failed before the condition was true.
        """

        def has_arrived() -> bool:
            if not self.is_running:
                if self._migration is not None and self._migration.error is not None:
                    raise self._migration.error
                raise InconclusiveError(
                    f"the migration ended before {condition}: {self._describe()}"
                )
            return is_true()

        try:
            Deadline(PHASE_SECONDS).wait_for(condition, has_arrived, interval_s=POLL_SECONDS)
        except TimedOut as error:
            raise InconclusiveError(
                f"{error.message}; the migration is in the phase {self.query_phase()}"
            ) from None

    def _log(self, detail: str) -> None:
        self.event_log.add_event(CONTROLLER, "fault", detail, time.monotonic(), None)

    def _describe(self) -> str:
        if self._error is not None:
            return str(self._error)
        if self.outcome is None:
            return "no outcome"
        return f"{self.outcome.status} {self.outcome.message}".strip()


@contextmanager
def hold_migration(
    testbed: Testbed,
    guest: Guest,
    plan: Plan,
    phase: MigrationPhase,
) -> Iterator[HeldMigration]:
    """Start a migration, hold the migration in a phase, and yield the held migration.

    A cut link holds the migration in SETUP. A low bandwidth holds the migration in DISK_COPY,
    FIRST_ITERATION or POSTCOPY. A frozen QEMU at the destination holds the migration in
    SWITCH_OVER. For LATER_ITERATION, the load of the guest and the bandwidth of the plan must
    prevent convergence. In all these phases, `HeldMigration.release` lets the migration continue.
    POSTCOPY_PAUSED ends only with a recovery. At the end of the block, a migration that still runs
    is aborted.

    Args:
        testbed: The testbed of the guest.
        guest: A guest from `testbed.make_guest`.
        plan: Settings of the migration. For LATER_ITERATION and POSTCOPY_PAUSED, the migration uses
            the bandwidth of the plan. For all other phases, the bandwidth is 1 MiB/s.
        phase: The phase in which to hold the migration.

    Raises:
        InconclusiveError: The migration did not reach the phase.
        MigrationError: The migration failed before it reached the phase, although no fault was
            injected.
    """
    target_host = testbed.pair.get_peer(guest.host)
    with collect_events(guest.name, (guest.host, target_host)) as event_log:
        held = HeldMigration(testbed, guest, plan, phase, guest.host, target_host, event_log)
        try:
            held.start()
            yield held
        finally:
            held.close()
            testbed.handle_fault_log(event_log.events, held.fault_records, held.outcome)
