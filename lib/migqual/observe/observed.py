"""A migration with every observer around it."""

from dataclasses import dataclass, field, replace

from migqual.errors import GuestError, MigrationError, TimedOut
from migqual.hosts.guest import Guest
from migqual.hosts.host import Host
from migqual.migration.follow import OnSample
from migqual.migration.guarded import move
from migqual.migration.run import OnBrokenOff
from migqual.model.outcome import JobSample, Outcome, Status
from migqual.model.plan import Arrival, Guard, Plan, StorageCopy
from migqual.observe import blocks, copies, gaps, integrity, release
from migqual.observe.blocks import Copied
from migqual.observe.meter import GapMeter
from migqual.observe.pace import Pace, choose_pace
from migqual.preflight.tools import Tools
from migqual.steps import timed

QUIET_NS = 200_000_000


@dataclass(frozen=True)
class Observed:
    """A migration that ended, and everything the observers found wrong with it."""

    outcome: Outcome
    error: MigrationError | None
    complaints: tuple[str, ...]


@dataclass
class Observers:
    """Around one guest for as long as it lives.

    hosts           all hosts on which a copy of the guest could be
    clock_error_us  how far the clocks of two of them may differ
    left            images that copies of disks left behind
    """

    guest: Guest
    meter: GapMeter
    hosts: tuple[Host, ...]
    tools: Tools
    clock_error_us: int = 0
    done: list[Observed] = field(default_factory=list)
    left: list[Copied] = field(default_factory=list)

    def migrate(
        self,
        destination: Host,
        plan: Plan,
        *,
        on_sample: OnSample | None = None,
        on_broken_off: OnBrokenOff | None = None,
    ) -> Observed:
        """Migrate and observe. An error of the migration is in the result, not raised; what the
        guard refuses is raised, since nothing was tried. `on_broken_off` gets what was seen of a
        migration that anything else broke off, before that is raised.

        Disks that were copied are compared block for block when the plan leaves the guest paused
        at its arrival; it is resumed then.
        """
        with self.meter.probe_at(Pace.FINE):
            return self._migrate(destination, plan, on_sample, on_broken_off)

    def _migrate(
        self,
        destination: Host,
        plan: Plan,
        on_sample: OnSample | None,
        on_broken_off: OnBrokenOff | None,
    ) -> Observed:
        source = self.guest.host
        # without the guard old and new may be one image: then nothing stays behind
        copies_disks = plan.copy_storage is not StorageCopy.NONE and plan.guard is Guard.ON
        with timed("check images left behind"):
            before = blocks.disks(self.guest) if copies_disks else {}
        window = self._quiet()
        complaints: list[str] = []
        try:
            outcome = move(
                self.guest,
                destination,
                plan,
                self.tools,
                on_sample=self._follow_pace(plan, on_sample),
                on_broken_off=on_broken_off,
            )
            error = None
        except MigrationError as failed:
            if failed.outcome is None:
                raise
            outcome, error = failed.outcome, failed
        else:
            if copies_disks:
                complaints = self._arrived(blocks.copied(self.guest, source, before, outcome), plan)
        found = self._after(outcome, *window)
        complaints += found.complaints
        self.done.append(replace(found, error=error, complaints=tuple(complaints)))
        return self.done[-1]

    def _follow_pace(self, plan: Plan, on_sample: OnSample | None) -> OnSample:
        """Probe finely where the switch-over is near; then hand the sample on."""

        def take_sample(sample: JobSample) -> bool:
            self.meter.set_pace(choose_pace(plan, sample, self.meter.pace))
            return on_sample is not None and on_sample(sample)

        return take_sample

    def _arrived(self, found: list[Copied], plan: Plan) -> list[str]:
        self.left += found
        if plan.arrival is not Arrival.PAUSED:
            return []
        try:
            with timed("compare copied disks"):
                return blocks.differences(self.tools.journal, found)
        finally:
            self.guest.domain.resume()

    @timed("watch the guest at rest")
    def _quiet(self) -> tuple[int, int]:
        """An undisturbed window just before: its beginning and end by the client's clock."""
        quiet = self.meter.mark()
        self.meter.answer_after(quiet + QUIET_NS)
        return quiet, self.meter.mark()

    def _after(self, outcome: Outcome, quiet: int, start: int) -> Observed:
        complaints = []
        self.meter.set_pace(Pace.FINE)
        end = self.meter.mark()
        for wait in (self.meter.answer_after, self.meter.session_after):
            try:
                with timed("wait for answers"):
                    wait(end)
            except TimedOut as error:
                complaints.append(f"{self.guest.name} does not answer: {error.message}")
                break  # its session may be waited for as long as the guest was away
        report = gaps.report(self.meter.trace, quiet, start, end)
        outcome = replace(outcome, gaps=report)
        complaints += self.complaints(outcome)
        return Observed(outcome, None, tuple(complaints))

    def _integrity(self) -> list[str]:
        try:
            return integrity.complaints(self.guest)
        except (GuestError, TimedOut) as error:
            return [f"the guest cannot be asked any more: {error.message}"]

    def complaints(self, outcome: Outcome | None = None) -> list[str]:
        """Everything that is wrong with the guest now."""
        stuck = outcome is not None and outcome.status is Status.STUCK
        with timed("check copies"):
            found = copies.complaints(self.guest, self.hosts, awaited=stuck)
        if not found:
            with timed("check memory and disks"):
                found += self._integrity()
            with timed("check the clean-up"):
                found += release.complaints(self.guest, outcome) if outcome is not None else []
        with timed("check images left behind"):
            found += blocks.touched(self.left)
        trace = self.meter.trace
        if trace.broken:
            found.append(f"the TCP session broke: {trace.broken}")
        if back := gaps.went_back(trace.session):
            found.append(f"the guest went back in time: {back}")
        if len(trace.boot_ids) > 1:
            found.append(f"the guest booted again: {trace.boot_ids}")
        if outcome is not None:
            pause_ms = outcome.pause_ms
            if pause_ms is not None and pause_ms < -self.clock_error_us / 1000:
                found.append(f"split brain: both copies ran for {-pause_ms:.1f} ms")
        return found
