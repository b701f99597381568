"""Migrations that are broken off: nothing goes on behind one's back, and no loss stays hidden."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import ExitStack, contextmanager
from dataclasses import replace

import pytest

from fixtures.plugins.guests import MakeGuest, Watched
from fixtures.plugins.hosts import Pair
from migqual.deadline import Deadline
from migqual.errors import InconclusiveError, MigrationFailed, MigrationStuck
from migqual.hosts import threads
from migqual.hosts.domain import Phase
from migqual.hosts.guest import Guest
from migqual.hosts.host import Host
from migqual.migration import job
from migqual.migration.run import migrate as move_alone
from migqual.model.guest import GuestSpec, Load, MemoryLoad, Persistence
from migqual.model.outcome import JobSample, Outcome, Status
from migqual.model.plan import Plan, Timeout, TimeoutAction
from migqual.model.setting import Setting
from migqual.observe import release
from migqual.preflight.tools import Tools
from suites.convergence.restless import BANDWIDTH_MIB_S, NON_CONVERGING

pytestmark = pytest.mark.oracle

Migrate = Callable[..., Outcome]

# nothing but the monitor can set it, so that it has to be put back
SLOW = Plan(bandwidth_mib_s=4, downtime_ms=50, settings=(Setting("announce-rounds", 7),))
# far more memory than post-copy carries within the deadline and the grace
POSTCOPY = Plan(
    bandwidth_mib_s=16,
    postcopy=True,
    postcopy_bandwidth_mib_s=2,
    timeout=Timeout(1, TimeoutAction.POSTCOPY),
)
FULL = GuestSpec(load=Load("full", memory=MemoryLoad(mib=96)))
GRACE_SECONDS = 10.0  # libvirt's answer takes seconds while QEMU is busy sending
SWITCH_SECONDS = 5.0
ARRIVAL_SECONDS = 60.0  # libvirt may sit out a lock of 30 s that the last abort waits for
AMPLE_MIB_S = 1000
PARALLEL = Plan(bandwidth_mib_s=16, channels=3)
LET_GO_SECONDS = 3.0
STILL = 20  # samples in which nothing more is sent
STOPS = 5
ANSWER_SECONDS = 2.0
LOCKED_SECONDS = 0.3


class Stumble(Exception):  # noqa: N818 - not an error of anyone's
    """What a test's own code may raise at any time."""


@pytest.mark.parametrize("thrown", [Stumble, KeyboardInterrupt])
def test_a_look_that_raises_breaks_the_migration_off(
    thrown: type[BaseException], make_guest: MakeGuest, migrate: Migrate, pair: Pair
) -> None:
    """
    A migration does not go on when whoever looks at it has stumbled, or was interrupted.

    Preconditions: memory moves, slowly, with parameters that are put back afterwards.
    Expected: what was raised comes through; no job runs, the guest runs at the source alone, with
    the parameters from before, and moves at the next try.
    """
    guest = make_guest(GuestSpec())
    before = guest.domain.monitor("query-migrate-parameters")

    def stumble(sample: JobSample) -> bool:
        if sample.stats.get("memory_processed"):
            raise thrown
        return False

    with pytest.raises(thrown):
        migrate(guest, SLOW, on_sample=stumble)

    assert not guest.domain.job_stats().get("type")
    assert guest.live_copies(pair.hosts) == {pair.source.name: "running"}
    assert guest.domain.monitor("query-migrate-parameters") == before
    migrate(guest, Plan())


def test_a_guest_that_dies_under_way_is_a_failed_migration(
    make_guest: MakeGuest, watched: Watched, pair: Pair
) -> None:
    """
    That parameters cannot be put back does not hide that the guest is lost.

    Preconditions: the source's QEMU is killed while memory moves; libvirt keeps no definition.
    Expected: the migration failed, in the stack's words; the guest is nowhere.
    """
    guest = make_guest(GuestSpec(persistence=Persistence.TRANSIENT))
    observers = watched.observers.pop(guest.name)

    def kill(sample: JobSample) -> bool:
        if sample.stats.get("memory_processed"):
            pids = pair.source.processes_of(guest.name)
            pair.source.shell.attempt("kill", "-KILL", *map(str, pids))
        return False

    with pytest.raises(MigrationFailed) as lost:
        move_alone(guest, pair.destination, SLOW, on_sample=kill)

    assert lost.value.outcome.words
    assert observers.complaints()


def test_an_abort_while_it_switches_does_not_lose_the_guest(
    make_guest: MakeGuest, migrate: Migrate, pair: Pair
) -> None:
    """
    A migration that has begun to go over to post-copy is not cancelled any more.

    Preconditions: somebody wants it aborted just after post-copy was asked for.
    Expected: it completes, and the guest runs unharmed at the destination.
    """
    guest = make_guest(NON_CONVERGING)
    later: list[float] = []

    def abort(sample: JobSample) -> bool:
        later.extend([sample.at_s] if int(sample.stats.get("memory_iteration", 0)) > 1 else [])
        return len(later) > 1  # with the first of them post-copy is asked for

    plan = Plan(bandwidth_mib_s=BANDWIDTH_MIB_S, postcopy=True, postcopy_after_precopy=True)
    outcome = migrate(guest, plan, on_sample=abort)

    assert len(later) > 1
    assert outcome.went_postcopy
    assert guest.host is pair.destination


def test_a_migration_that_cannot_be_aborted_is_given_up(
    make_guest: MakeGuest, watched: Watched, pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    A migration that libvirt does not abort is not waited for without end.

    Preconditions: the deadline passes in a post-copy that takes far longer than the grace.
    Expected: nothing is learnt, and it is told how often the abort was tried and what libvirt said;
    what was seen until then is kept.
    Left alone and given bandwidth the migration completes: the guest runs at the destination.
    """
    monkeypatch.setattr(job, "GRACE_SECONDS", GRACE_SECONDS)
    monkeypatch.setattr(job, "SWITCH_SECONDS", SWITCH_SECONDS)
    guest = make_guest(FULL)
    watched.observers.pop(guest.name)

    seen: list[Outcome] = []
    with pytest.raises(InconclusiveError, match=r"(?is)first of ([2-9]|\d\d) aborts.*post-?copy"):
        move_alone(
            guest, pair.destination, replace(POSTCOPY, deadline_s=2), on_broken_off=seen.append
        )

    assert [outcome.status for outcome in seen] == [Status.BROKEN_OFF]
    assert seen[0].went_postcopy
    assert seen[0].samples[-1].at_s > GRACE_SECONDS
    guest.domain.set_bandwidth(AMPLE_MIB_S, Phase.POSTCOPY)
    arrived = {pair.destination.name: "running"}
    Deadline(ARRIVAL_SECONDS).wait_for(
        "the guest at the destination alone", lambda: guest.live_copies(pair.hosts) == arrived
    )


def test_a_stack_that_takes_an_abort_and_does_not_obey_fails(
    make_guest: MakeGuest,
    migrate: Migrate,
    pair: Pair,
    tools: Tools,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """
    A migration that goes on although libvirt took the aborts is the stack's failure.

    Preconditions: QEMU's thread that directs the migration stands still, the rest of QEMU goes on.
    Expected: the error says that libvirt took the aborts and holds what was seen. Once the thread
    goes on the migration ends, the guest runs at the source alone, and moves at the next try.
    """
    monkeypatch.setattr(job, "GRACE_SECONDS", GRACE_SECONDS)
    guest = make_guest(FULL)
    source = pair.source

    with ExitStack() as stack:

        def freeze(sample: JobSample) -> bool:
            if not sample.stats.get("memory_processed"):
                return False
            stack.enter_context(nobody_leads(guest, tools))
            return True

        with pytest.raises(
            MigrationStuck, match=r"first of ([2-9]|\d\d) aborts: libvirt took"
        ) as it:
            migrate(guest, Plan(bandwidth_mib_s=4), on_sample=freeze)

    assert it.value.outcome.status is Status.STUCK
    assert it.value.outcome.samples
    Deadline(ARRIVAL_SECONDS).wait_for("no job", lambda: not guest.domain.job_stats().get("type"))
    assert guest.live_copies(pair.hosts) == {source.name: "running"}
    migrate(guest, Plan())


def test_a_failed_migration_that_qemu_holds_on_to_is_found(
    make_guest: MakeGuest,
    migrate: Migrate,
    pair: Pair,
    tools: Tools,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """
    A migration that libvirt told the failure of, and whose thread never ends, is the stack's fault.

    Preconditions: every connection is full, since the destination's QEMU stands still; the thread
    that directs the migration is held; then the destination's QEMU dies.
    Expected: the observers find that QEMU holds on to the migration. Once the thread goes on QEMU
    lets go of it, and the guest moves.
    """
    monkeypatch.setattr(release, "LET_GO_SECONDS", LET_GO_SECONDS)
    guest = make_guest(FULL)
    source, destination = pair.hosts
    sent: list[int] = []

    def full() -> bool:
        return len(sent) > STILL and len(set(sent[-STILL:])) == 1

    with ExitStack() as stack:

        def hold(sample: JobSample) -> bool:
            if not (done := int(sample.stats.get("memory_processed", 0))):
                return False
            if not sent:
                signal(destination, guest, "STOP")
            elif full():
                return False  # dead already
            sent.append(done)
            if full():
                stack.enter_context(nobody_leads(guest, tools))
                signal(destination, guest, "KILL")
            return False

        with pytest.raises(AssertionError, match="still holds on to it") as found:
            migrate(guest, PARALLEL, on_sample=hold)
        parallel_again(guest)

    assert full()
    assert "(failed)" in str(found.value)
    Deadline(ARRIVAL_SECONDS).wait_for("QEMU to let go", lambda: held_by_qemu(guest) == [])
    assert guest.live_copies(pair.hosts) == {source.name: "running"}
    migrate(guest, Plan())


def test_a_stop_that_all_of_qemu_waits_for_is_found(
    make_guest: MakeGuest, tools: Tools, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    A thread that is stopped while all of QEMU waits for it is not taken for one that waits alone.

    Preconditions: QEMU's main thread is stopped in place of the one that directs a migration.
    Expected: inconclusive, and QEMU answers again afterwards.
    """
    monkeypatch.setattr("suites.oracles.test_broken_off.ANSWER_SECONDS", LOCKED_SECONDS)
    guest = make_guest(GuestSpec())
    main = threads.running(guest)
    monkeypatch.setattr(threads.Thread, "leads", property(lambda thread: thread.tid == main))

    with (
        pytest.raises(InconclusiveError, match="held QEMU's lock each of 5 times"),
        nobody_leads(guest, tools),
    ):
        pytest.fail("QEMU answered, though its main thread stood still")

    assert guest.domain.monitor("query-status")["status"] == "running"


@contextmanager
def nobody_leads(guest: Guest, tools: Tools) -> Iterator[None]:
    """Stop the thread that directs the migration while the block runs; the rest of QEMU goes on.

    Where the thread holds QEMU's lock when it is stopped, all of QEMU waits for it: then it goes on
    and is stopped anew. Raises `InconclusiveError` when it always held the lock.
    """
    leading = next(one for one in threads.of(guest.host, threads.running(guest)) if one.leads)
    with ThreadPoolExecutor(1) as asking:  # left once the thread goes on, and QEMU has answered
        for _ in range(STOPS):
            with threads.frozen(guest.host, tools.payload(guest.host), leading):
                answer = asking.submit(guest.domain.monitor, "query-status")
                if wait([answer], ANSWER_SECONDS).done:
                    yield
                    return
    raise InconclusiveError(f"{leading.name} held QEMU's lock each of {STOPS} times")


def parallel_again(guest: Guest) -> None:
    """Set once more what libvirt took back at the failure: by it QEMU 7.2 knows at the end of its
    thread which connections to clear away, and dies of those that it does not know of."""
    on = {"capability": "multifd", "state": True}
    guest.domain.monitor("migrate-set-capabilities", capabilities=[on])
    guest.domain.monitor("migrate-set-parameters", **{"multifd-channels": PARALLEL.channels})


def signal(host: Host, guest: Guest, name: str) -> None:
    host.shell.run("kill", f"-{name}", *map(str, host.processes_of(guest.name)))


def held_by_qemu(guest: Guest) -> list[str]:
    """The migrations among the connections that the guest's QEMU can break."""
    found = [one["type"] for one in guest.domain.monitor("query-yank")]
    return [kind for kind in found if kind == "migration"]
