"""Interrupted migrations: migqual reports a migration that continues and a guest that is lost."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import ExitStack, contextmanager

import pytest

from migqual.deadline import Deadline
from migqual.errors import InconclusiveError, MigrationFailed, MigrationStuck
from migqual.hosts import qemu_threads
from migqual.hosts.domain import BandwidthPhase, DomainState
from migqual.hosts.domain_job import query_job_stats
from migqual.hosts.guest import Guest
from migqual.migration import job
from migqual.migration.job_sampler import SampleAction
from migqual.migration.migrate import migrate as migrate_unguarded
from migqual.model.guest_spec import GuestLoad, GuestSpec, MemoryLoad, Persistence
from migqual.model.outcome import JobSample, MigrationStatus, Outcome
from migqual.model.plan import Plan, Timeout, TimeoutAction
from migqual.model.qemu_parameter import QemuParameter
from migqual.observe import migration_cleanup
from migqual.probes.probe_context import ProbeContext
from migqual.testbed.testbed import Testbed
from suites.support.convergence import BANDWIDTH_MIB_S, NON_CONVERGING
from suites.support.qemu_signals import kill_qemu, send_signal_to_qemu

pytestmark = pytest.mark.observer_check

# only QEMU's monitor can set `announce-rounds`, so the old value has to be restored
SLOW_PLAN = Plan(
    bandwidth_mib_s=4, downtime_ms=50, qemu_parameters=(QemuParameter("announce-rounds", 7),)
)
# the guest has far more memory than post-copy sends within the deadline and the grace period
POSTCOPY_PLAN = Plan(
    bandwidth_mib_s=16,
    postcopy=True,
    postcopy_bandwidth_mib_s=2,
    timeout=Timeout(1, TimeoutAction.POSTCOPY),
)
FILLED_GUEST = GuestSpec(load=GuestLoad("full", memory=MemoryLoad(size_mib=96)))
GRACE_SECONDS = 10.0  # libvirt's answer takes seconds while QEMU is busy sending
SWITCH_SECONDS = 5.0
ARRIVAL_SECONDS = 60.0  # the last abort may wait 30 s for a lock in libvirt
HIGH_BANDWIDTH_MIB_S = 1000
MULTIFD_PLAN = Plan(bandwidth_mib_s=16, channels=3)
RELEASE_SECONDS = 3.0
STALLED_SAMPLES = 20  # a migration that sends nothing during this number of samples is stalled
FREEZE_ATTEMPTS = 5
MONITOR_SECONDS = 2.0
SHORT_MONITOR_SECONDS = 0.3


class CallbackFailure(Exception):  # noqa: N818 - no error of migqual or of a host
    """An exception that the `on_sample` callback of a test raises."""


@pytest.mark.parametrize("exception_type", [CallbackFailure, KeyboardInterrupt])
def test_exception_in_on_sample_aborts_the_migration(
    exception_type: type[BaseException], testbed: Testbed
) -> None:
    """
    A migration ends when the `on_sample` callback raises an exception or is interrupted.

    Preconditions: the migration sends memory slowly. The plan sets migration parameters of QEMU.
    Expected: the exception reaches the caller. No job runs, and the guest runs only at the
    source. QEMU has the previous migration parameters. The next migration succeeds.
    """
    guest = testbed.make_guest(GuestSpec())
    parameters_before = guest.domain.run_qmp_command("query-migrate-parameters")

    def raise_exception(sample: JobSample) -> None:
        if sample.stats.memory_processed_bytes:
            raise exception_type

    with pytest.raises(exception_type):
        testbed.migrate(guest, SLOW_PLAN, on_sample=raise_exception)

    assert not query_job_stats(guest.domain).is_active
    assert guest.query_states_by_host(testbed.hosts) == {testbed.source.name: DomainState.RUNNING}
    assert guest.domain.run_qmp_command("query-migrate-parameters") == parameters_before
    testbed.migrate(guest, Plan())


def test_guest_killed_during_migration_is_a_failed_migration(testbed: Testbed) -> None:
    """
    If the guest is killed during a migration, the migration fails, and the loss is reported.

    Preconditions: the source's QEMU is killed while memory moves. The guest is transient, so
    libvirt keeps no definition. The plan changes a parameter of QEMU (`announce-rounds`). After
    the loss of the guest, migqual cannot restore this parameter.
    Expected: the migration fails with the message of the stack, not with an error about the
    parameter. The observers report the loss of the guest.
    """
    guest = testbed.make_guest(GuestSpec(persistence=Persistence.TRANSIENT))
    observers = testbed.detach_observers(guest)

    def kill_source_qemu(sample: JobSample) -> None:
        if sample.stats.memory_processed_bytes:
            kill_qemu(testbed.source, guest)

    with pytest.raises(MigrationFailed) as failure:
        migrate_unguarded(guest, testbed.destination, SLOW_PLAN, on_sample=kill_source_qemu)

    assert failure.value.outcome.message
    assert observers.find_violations()


def test_abort_during_the_postcopy_switch_keeps_the_guest(testbed: Testbed) -> None:
    """
    An abort does not cancel a migration that has started the switch to post-copy.

    Preconditions: an abort is requested just after the request for post-copy.
    Expected: the migration completes, and the guest runs unharmed at the destination.
    """
    guest = testbed.make_guest(NON_CONVERGING)
    late_sample_times_s: list[float] = []

    def request_abort(sample: JobSample) -> SampleAction | None:
        late_sample_times_s.extend(
            [sample.at_s] if (sample.stats.memory_iteration or 0) > 1 else []
        )
        return (
            SampleAction.ABORT if len(late_sample_times_s) > 1 else None
        )  # at the first of these samples, migqual requests post-copy

    plan = Plan(bandwidth_mib_s=BANDWIDTH_MIB_S, postcopy=True, postcopy_after_precopy=True)
    outcome = testbed.migrate(guest, plan, on_sample=request_abort)

    assert len(late_sample_times_s) > 1
    assert outcome.has_entered_postcopy
    assert guest.host is testbed.destination


def test_migration_that_cannot_be_aborted_is_inconclusive(
    testbed: Testbed, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    If libvirt cannot abort a migration, migqual ends the wait after a grace period.

    Preconditions: migqual requests aborts during post-copy. Post-copy lasts much longer than the
    grace period, which begins at the first abort.
    Expected: the result is inconclusive. The error states the number of aborts and the message
    of libvirt, and the outcome contains the job samples of the whole wait. The test then raises
    the bandwidth. The same migration now completes, and the guest runs at the destination.
    """
    monkeypatch.setattr(job, "ABORT_GRACE_SECONDS", GRACE_SECONDS)
    monkeypatch.setattr(job, "POSTCOPY_SWITCH_SECONDS", SWITCH_SECONDS)
    guest = testbed.make_guest(FILLED_GUEST)
    testbed.detach_observers(guest)

    def abort_in_postcopy(_sample: JobSample) -> SampleAction | None:
        # When post-copy begins, libvirt pauses the guest at the source and never resumes it there.
        return SampleAction.ABORT if guest.query_state() == "paused" else None

    outcomes: list[Outcome] = []
    with pytest.raises(InconclusiveError, match=r"(?is)first of ([2-9]|\d\d) aborts.*post-?copy"):
        migrate_unguarded(
            guest,
            testbed.destination,
            POSTCOPY_PLAN,
            on_sample=abort_in_postcopy,
            on_interrupted=outcomes.append,
        )

    assert [outcome.status for outcome in outcomes] == [MigrationStatus.INTERRUPTED]
    assert outcomes[0].has_entered_postcopy
    assert outcomes[0].job_samples[-1].at_s > GRACE_SECONDS
    guest.domain.set_bandwidth(HIGH_BANDWIDTH_MIB_S, BandwidthPhase.POSTCOPY)
    expected_copies = {testbed.destination.name: DomainState.RUNNING}
    Deadline(ARRIVAL_SECONDS).wait_for(
        "the guest to run only at the destination",
        lambda: guest.query_states_by_host(testbed.hosts) == expected_copies,
    )


def test_ignored_abort_is_a_stuck_migration(
    testbed: Testbed, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    A migration that continues although libvirt accepted the aborts is a failure of the stack.

    Preconditions: QEMU's main migration thread is frozen, and the rest of QEMU continues.
    Expected: the error says that libvirt accepted the aborts, and contains the job samples. Once
    the thread continues, the migration ends, and the guest runs only at the source. The next
    migration succeeds.
    """
    monkeypatch.setattr(job, "ABORT_GRACE_SECONDS", GRACE_SECONDS)
    guest = testbed.make_guest(FILLED_GUEST)
    source = testbed.source

    with ExitStack() as stack:

        def freeze_migration_thread(sample: JobSample) -> SampleAction | None:
            if not sample.stats.memory_processed_bytes:
                return None
            stack.enter_context(freeze_migration_main(guest, testbed.probe_context))
            return SampleAction.ABORT

        with pytest.raises(
            MigrationStuck, match=r"first of ([2-9]|\d\d) aborts: libvirt accepted"
        ) as stuck_error:
            testbed.migrate(guest, Plan(bandwidth_mib_s=4), on_sample=freeze_migration_thread)

    assert stuck_error.value.outcome.status is MigrationStatus.STUCK
    assert stuck_error.value.outcome.job_samples
    Deadline(ARRIVAL_SECONDS).wait_for(
        "the migration job to end", lambda: not query_job_stats(guest.domain).is_active
    )
    assert guest.query_states_by_host(testbed.hosts) == {source.name: DomainState.RUNNING}
    testbed.migrate(guest, Plan())


def test_failed_migration_not_released_by_qemu_is_found(
    testbed: Testbed, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    The observers report a failed migration that QEMU at the source does not end.

    Preconditions: the destination's QEMU is stopped, and the migration stalls. Then the main
    migration thread of the source's QEMU is frozen, and the destination's QEMU is killed. libvirt
    reports that the migration failed, but the frozen thread cannot end the migration in QEMU.
    Expected: the observers report that QMP `query-yank` at the source still lists the migration.
    Once the thread continues, QEMU ends the migration, and the next migration succeeds.
    """
    monkeypatch.setattr(migration_cleanup, "CLEANUP_SECONDS", RELEASE_SECONDS)
    guest = testbed.make_guest(FILLED_GUEST)
    source, destination = testbed.hosts
    sent_bytes: list[int] = []

    def is_stalled() -> bool:
        return len(sent_bytes) > STALLED_SAMPLES and len(set(sent_bytes[-STALLED_SAMPLES:])) == 1

    with ExitStack() as stack:

        def kill_stalled_destination(sample: JobSample) -> None:
            if not (processed_bytes := sample.stats.memory_processed_bytes):
                return
            if not sent_bytes:
                send_signal_to_qemu(destination, guest, "STOP")
            elif is_stalled():
                return  # the destination's QEMU was already killed
            sent_bytes.append(processed_bytes)
            if is_stalled():
                stack.enter_context(freeze_migration_main(guest, testbed.probe_context))
                kill_qemu(destination, guest)

        with pytest.raises(AssertionError, match="still lists the migration") as failure:
            testbed.migrate(guest, MULTIFD_PLAN, on_sample=kill_stalled_destination)
        enable_multifd_again(guest)

    assert is_stalled()
    assert "(failed)" in str(failure.value)
    Deadline(ARRIVAL_SECONDS).wait_for(
        "QEMU to release the migration", lambda: list_held_migrations(guest) == []
    )
    assert guest.query_states_by_host(testbed.hosts) == {source.name: DomainState.RUNNING}
    testbed.migrate(guest, Plan())


def test_freeze_that_blocks_all_of_qemu_is_found(
    testbed: Testbed, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    A freeze that stops all of QEMU instead of one thread is detected.

    Preconditions: QEMU's main thread is frozen instead of the main migration thread.
    Expected: the result is inconclusive. Afterwards QEMU answers again.
    """
    monkeypatch.setattr(
        "suites.observer_checks.test_interrupted_migrations.MONITOR_SECONDS", SHORT_MONITOR_SECONDS
    )
    guest = testbed.make_guest(GuestSpec())
    qemu_pid = qemu_threads.find_qemu_pid(guest)
    is_main_thread = property(lambda thread: thread.tid == qemu_pid)
    monkeypatch.setattr(qemu_threads.QemuThread, "is_migration_main", is_main_thread)

    with (
        pytest.raises(InconclusiveError, match="in each of 5 attempts the thread"),
        freeze_migration_main(guest, testbed.probe_context),
    ):
        pytest.fail("QEMU answered with a frozen main thread")

    assert guest.domain.run_qmp_command("query-status")["status"] == "running"


@contextmanager
def freeze_migration_main(guest: Guest, probe_context: ProbeContext) -> Iterator[None]:
    """Freeze the main migration thread of QEMU; the rest of QEMU continues.

    If the frozen thread holds QEMU's global lock, all of QEMU stops. The function then lets the
    thread continue and freezes the thread again.

    Raises:
        InconclusiveError: The thread held the lock in every attempt.
    """
    threads = qemu_threads.list_threads(guest.host, qemu_threads.find_qemu_pid(guest))
    main_thread = next(thread for thread in threads if thread.is_migration_main)
    payload_path = probe_context.get_payload_path(guest.host)
    with ThreadPoolExecutor(1) as executor:  # ends after the thread continues and QEMU answers
        for _ in range(FREEZE_ATTEMPTS):
            with qemu_threads.freeze_thread(guest.host, payload_path, main_thread):
                answer = executor.submit(guest.domain.run_qmp_command, "query-status")
                if wait([answer], MONITOR_SECONDS).done:
                    yield
                    return
    raise InconclusiveError(
        f"the thread {main_thread.name} could not be frozen alone: in each of {FREEZE_ATTEMPTS} "
        "attempts the thread held QEMU's global lock, so all of QEMU stopped"
    )


def enable_multifd_again(guest: Guest) -> None:
    """Enable multifd again in the source's QEMU while the main migration thread is frozen.

    When the thread continues, QEMU 7.2 closes the multifd connections. For this, QEMU needs the
    multifd settings of the migration. libvirt reset these settings when the migration failed.
    Without the settings, QEMU dies.
    """
    multifd_capability = {"capability": "multifd", "state": True}
    guest.domain.run_qmp_command("migrate-set-capabilities", capabilities=[multifd_capability])
    guest.domain.run_qmp_command(
        "migrate-set-parameters", **{"multifd-channels": MULTIFD_PLAN.channels}
    )


def list_held_migrations(guest: Guest) -> list[str]:
    """List the migrations that the guest's QEMU has not yet ended, according to QMP `query-yank`.

    The reply has an entry of the type `migration` until QEMU's migration thread has ended.
    """
    connection_types = [
        yank_instance["type"] for yank_instance in guest.domain.run_qmp_command("query-yank")
    ]
    return [kind for kind in connection_types if kind == "migration"]
