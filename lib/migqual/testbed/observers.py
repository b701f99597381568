"""Migrate a guest, and check the guest and the hosts after the migration."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from migqual.errors import GuestError, HostError, InconclusiveError, MigrationError, TimedOut
from migqual.hosts.guest import Guest
from migqual.hosts.host import Host
from migqual.migration.guarded import migrate_guarded
from migqual.migration.job_sampler import OnSample, SampleAction
from migqual.migration.migrate import OnInterrupted
from migqual.model.guest_event import GuestEvent
from migqual.model.outcome import JobSample, MigrationStatus, Outcome
from migqual.model.plan import Arrival, Guard, Plan, StorageCopy
from migqual.model.run_intervals import ClockDifference
from migqual.observe import disk_copies, gaps, integrity, migration_cleanup, split_brain
from migqual.observe.disk_copies import CopiedDisk
from migqual.observe.gap_meter import GapMeter
from migqual.observe.probe_interval import ProbeInterval, choose_probe_interval
from migqual.probes.clocks import measure_clock_difference
from migqual.probes.probe_context import ProbeContext
from migqual.step_times import time_step

BASELINE_NS = 200_000_000
# Called after the end of a migration, before the checks.
OnEnded = Callable[[], None]


@dataclass(frozen=True)
class ObservedMigration:
    """A migration that has ended, with the results of the checks after the migration.

    Attributes:
        outcome: The outcome of the migration, with the gap report (times without a reply).
        error: The error of the migration; None for a completed migration.
        violations: A message for each problem of the guest or the hosts.
    """

    outcome: Outcome
    error: MigrationError | None
    violations: tuple[str, ...]

    def add_late_overlap(self, events: tuple[GuestEvent, ...]) -> "ObservedMigration":
        """Add a violation if the guest ran on both hosts at the same time.

        A libvirt daemon that hung can start the guest on the second host after the checks of the
        migration. Therefore `events` also covers the time after these checks.

        Args:
            events: The events of the guest on both hosts, from the start of the migration to now.
        """
        if any(text.startswith("split brain") for text in self.violations):
            return self
        overlap = split_brain.describe_overlap(replace(self.outcome, events=events))
        return replace(self, violations=(*self.violations, *overlap))


@dataclass
class Observers:
    """The checks that migqual makes on a guest and the hosts after each migration of the guest.

    The checks cover memory, disks, TCP session, reboots, split brain and unfinished migrations.

    Attributes:
        hosts: The hosts on which the checks search for a running QEMU of the guest.
        has_common_clock: True if all hosts have the clock of one machine. Otherwise the difference
            of the clocks is measured before and after each migration.
        migrations: The ended migrations of the guest, oldest first.
        copied_disks: The disks that the migrations copied, with the old and the new image of each.
    """

    guest: Guest
    meter: GapMeter
    hosts: tuple[Host, ...]
    probe_context: ProbeContext
    has_common_clock: bool = False
    migrations: list[ObservedMigration] = field(default_factory=list)
    copied_disks: list[CopiedDisk] = field(default_factory=list)

    def migrate(
        self,
        destination: Host,
        plan: Plan,
        *,
        on_sample: OnSample | None = None,
        on_interrupted: OnInterrupted | None = None,
        on_ended: OnEnded | None = None,
    ) -> ObservedMigration:
        """Migrate the guest, and check guest and hosts during and after the migration.

        A `MigrationError` is in the result, and is not raised. If the plan copies disks and pauses
        the guest at the destination, the method compares the copied disks block by block. Then
        the method resumes the guest.

        Args:
            destination: The host to migrate to.
            plan: Options and limits of the migration.
            on_sample: Called with every job sample. The result `SampleAction.ABORT` aborts the
                migration.
            on_interrupted: Called with the outcome so far, before an error other than a
                `MigrationError` is raised.
            on_ended: Called after the end of the migration, before the checks. The function may
                wait, for example until a host answers again.

        Returns:
            The outcome, the error and the violations.

        Raises:
            GuardRefusal: The guard refused the migration before the start.
            InconclusiveError: libvirt refused to abort the migration.
        """
        with self.meter.probe_at(ProbeInterval.FINE):
            return self._migrate_and_check(
                destination, plan, on_sample, on_interrupted, on_ended or (lambda: None)
            )

    def _migrate_and_check(
        self,
        destination: Host,
        plan: Plan,
        on_sample: OnSample | None,
        on_interrupted: OnInterrupted | None,
        on_ended: OnEnded,
    ) -> ObservedMigration:
        source = self.guest.host
        # Without the guard, the old and the new image can be the same file, in use by the guest.
        is_copying_disks = plan.copy_storage is not StorageCopy.NONE and plan.guard is Guard.ON
        with time_step("check old disk images"):
            disks_before = disk_copies.read_disks(self.guest) if is_copying_disks else {}
        clock_difference = self._measure_clocks(source, destination)
        baseline_window = self._watch_baseline_window()
        violations: list[str] = []
        try:
            outcome = migrate_guarded(
                self.guest,
                destination,
                plan,
                self.probe_context,
                on_sample=self._adapt_probe_interval(plan, on_sample),
                on_interrupted=on_interrupted,
            )
            error = None
        except MigrationError as migration_error:
            if migration_error.outcome is None:
                raise
            outcome, error = migration_error.outcome, migration_error
            on_ended()
        else:
            on_ended()
            if is_copying_disks:
                violations = self._compare_copied_disks(
                    disk_copies.list_copied_disks(self.guest, source, disks_before, outcome), plan
                )
        clock_difference = self._measure_clocks_again(source, destination, clock_difference)
        outcome = replace(outcome, clock_difference=clock_difference)
        observed = self._check_after_migration(outcome, *baseline_window)
        violations += observed.violations
        self.migrations.append(replace(observed, error=error, violations=tuple(violations)))
        return self.migrations[-1]

    @time_step("compare the clocks of the hosts")
    def _measure_clocks(self, source: Host, destination: Host) -> ClockDifference:
        if self.has_common_clock:
            return ClockDifference()
        return measure_clock_difference(source, destination, self.probe_context)

    def _measure_clocks_again(
        self, source: Host, destination: Host, before: ClockDifference
    ) -> ClockDifference:
        """Measure the clocks after a migration. A host that does not answer causes no error."""
        try:
            return before.combine(self._measure_clocks(source, destination))
        except HostError:
            return before

    def _adapt_probe_interval(self, plan: Plan, on_sample: OnSample | None) -> OnSample:
        """Return a callback that sets the probe interval of the gap meter at each job sample.

        The gap meter sends probes to the guest. If a job sample shows that the switch-over is near,
        the callback sets a short interval (2 ms). The callback passes every job sample to
        `on_sample`.
        """

        def process_sample(sample: JobSample) -> SampleAction | None:
            self.meter.set_probe_interval(
                choose_probe_interval(plan, sample, self.meter.probe_interval)
            )
            return on_sample(sample) if on_sample is not None else None

        return process_sample

    def _compare_copied_disks(self, copied_disks: list[CopiedDisk], plan: Plan) -> list[str]:
        self.copied_disks += copied_disks
        if plan.arrival is not Arrival.PAUSED:
            return []
        try:
            with time_step("compare copied disks"):
                return disk_copies.find_disk_differences(self.probe_context.journal, copied_disks)
        finally:
            self.guest.domain.resume()

    @time_step("observe the baseline window")
    def _watch_baseline_window(self) -> tuple[int, int]:
        """Collect replies of the undisturbed guest for 0.2 s, before a migration.

        Returns:
            Start and end of the time window, in ns of the client's clock.
        """
        baseline_ns = self.meter.mark_time_ns()
        self.meter.wait_for_reply(baseline_ns + BASELINE_NS)
        return baseline_ns, self.meter.mark_time_ns()

    def _check_after_migration(
        self, outcome: Outcome, baseline_ns: int, start_ns: int
    ) -> ObservedMigration:
        violations = []
        self.meter.set_probe_interval(ProbeInterval.FINE)
        end_ns = self.meter.mark_time_ns()
        waits = (self.meter.wait_for_reply, self.meter.wait_for_session)
        for wait_for_guest in () if self._is_lost(outcome) else waits:
            try:
                with time_step("wait for replies of the guest"):
                    wait_for_guest(end_ns)
            except TimedOut as error:
                violations.append(
                    f"{self.guest.name} does not answer after the migration: {error.message}"
                )
                break  # the wait for the TCP session could take as long as the silence of the guest
        gap_report = gaps.build_gap_report(self.meter.trace, baseline_ns, start_ns, end_ns)
        outcome = replace(outcome, gap_report=gap_report)
        violations += self.find_violations(outcome)
        return ObservedMigration(outcome, None, tuple(violations))

    def _is_lost(self, outcome: Outcome) -> bool:
        """Return whether no host has a QEMU process of the guest after a failed migration."""
        return outcome.status is not MigrationStatus.COMPLETED and not any(
            host.list_qemu_pids(self.guest.name) for host in self.hosts
        )

    def _check_integrity(self) -> list[str]:
        try:
            return integrity.find_integrity_violations(self.guest)
        except (GuestError, TimedOut) as error:
            return [f"memory and disks of {self.guest.name} cannot be checked: {error.message}"]

    def find_violations(self, outcome: Outcome | None = None) -> list[str]:
        """Check the guest and the hosts now, and list all problems.

        Args:
            outcome: Outcome of the migration that has just ended; None without a migration.

        Returns:
            A message for each problem.
        """
        is_stuck = outcome is not None and outcome.status is MigrationStatus.STUCK
        with time_step("check for split brain"):
            violations = split_brain.find_split_brain_violations(
                self.guest, self.hosts, is_still_migrating=is_stuck
            )
        if not violations:
            with time_step("check memory and disks"):
                violations += self._check_integrity()
            with time_step("check clean-up of the migration"):
                violations += (
                    migration_cleanup.find_cleanup_violations(self.guest, outcome)
                    if outcome is not None
                    else []
                )
        with time_step("check old disk images"):
            violations += disk_copies.find_old_image_violations(self.copied_disks)
        trace = self.meter.trace
        if trace.session_error:
            violations.append(
                f"{self.guest.name}: the TCP session with the client broke: {trace.session_error}"
            )
        if rollback := gaps.find_rollback(trace.session_replies):
            violations.append(f"{self.guest.name} went back to an earlier state: {rollback}")
        if trace.repeated_replies:
            violations.append(
                f"split brain: {len(trace.repeated_replies)} probes to {self.guest.name} had more "
                "than one reply, as if two copies of the guest answered"
            )
        if len(trace.boot_ids) > 1:
            violations.append(
                f"{self.guest.name} has rebooted: boot ids {', '.join(trace.boot_ids)}"
            )
        if outcome is not None:
            try:
                violations += split_brain.find_overlap_violations(outcome)
            except InconclusiveError:
                if not violations:
                    raise
        return violations
