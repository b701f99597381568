"""The bandwidth of a migration: set, read back, and kept to."""

import threading
from collections.abc import Callable

import pytest

from fixtures.plugins.guests import MakeGuest
from fixtures.plugins.hosts import Pair
from fixtures.plugins.records import add_environment
from migqual.errors import InconclusiveError, MigrationRefused, StackError, UnsupportedError
from migqual.hosts.domain import Phase
from migqual.model import throughput
from migqual.model.documented import MIB, mbit_s
from migqual.model.guest import Content, GuestSpec, Load, MemoryLoad
from migqual.model.outcome import JobSample, Outcome
from migqual.model.plan import Plan, Timeout, TimeoutAction
from migqual.model.profile import Profile

Migrate = Callable[..., Outcome]

# enough that cannot be left out, for seconds at every limit
FULL = GuestSpec(load=Load("full", memory=MemoryLoad(mib=96, content=Content.RANDOM)))
# and more than that: libvirt may take seconds to change a limit
ROOMY = GuestSpec(
    memory_mib=384, load=Load("roomy", memory=MemoryLoad(mib=200, content=Content.RANDOM))
)
# A migration is held to its limit once it is under way: QEMU overdraws while it starts, or switches
# to post-copy, and the last round, with the guest at rest, has no limit at all. It counts what it
# sends in lots of 128 KiB, and a limit in tenths of a second: below 16 MiB/s a lot too much in each
# is more than a tenth of the limit.
SETTLED_S = 1.0
JOIN_SECONDS = 10.0


@pytest.mark.requirement("LM-PAR-02", "LM-PAR-03")
def test_bandwidth_is_read_back(make_guest: MakeGuest) -> None:
    """
    What `migrate-setspeed` sets, `migrate-getspeed` tells, and QEMU has it in force.

    Preconditions: a guest that does not migrate.
    Expected: every value is read back from libvirt in MiB/s and from QEMU in bytes per second; more
    than libvirt can count is refused, and the old value stays.
    """
    guest = make_guest(GuestSpec())

    for mib_s in (1, 32, 500, 10_000):
        guest.domain.set_bandwidth(mib_s)
        assert guest.domain.bandwidth() == mib_s
        assert max_bandwidth(guest.domain.monitor("query-migrate-parameters")) == mib_s * MIB

    with pytest.raises(StackError, match=r"(?i)bandwidth must be less than|overflow"):
        guest.domain.set_bandwidth(2**62)
    assert guest.domain.bandwidth() == 10_000


@pytest.mark.requirement("LM-PAR-02")
def test_unit_of_the_bandwidth(make_guest: MakeGuest) -> None:
    """
    The documentation's example of 500 Mbit/s sets 500 MiB/s, which is more than eight times that.

    Preconditions: the command of the documentation, `migrate-setspeed --bandwidth 500`.
    Expected: QEMU's limit is 500 MiB/s, that is 4194 Mbit/s; 500 Mbit/s would be 60 MiB/s.
    """
    guest = make_guest(GuestSpec())

    guest.domain.set_bandwidth(500)

    limit = max_bandwidth(guest.domain.monitor("query-migrate-parameters"))
    assert limit * 8 / 1_000_000 == pytest.approx(mbit_s(500))
    assert round(mbit_s(500)) == 4194
    assert limit > 8 * 500_000_000 / 8


@pytest.mark.requirement("LM-PAR-02")
@pytest.mark.parametrize("limit_mib_s", [16, 32], ids="{}mib-s".format)
def test_throughput_stays_under_the_limit(
    limit_mib_s: int,
    make_guest: MakeGuest,
    migrate: Migrate,
    pair: Pair,
    profile: Profile,
    pytestconfig: pytest.Config,
) -> None:
    """
    A migration takes no more than the bandwidth that it is given, and most of that.

    Preconditions: a guest that takes seconds at this limit.
    Expected: once it is under way, over no stretch of two seconds more than the limit and the
    profile's tolerance; at least half of the limit, or the link itself was the limit and nothing is
    learnt. The peak with start and end is in the report.
    """
    outcome = migrate(make_guest(FULL), Plan(bandwidth_mib_s=limit_mib_s))

    found = measured(outcome, since_s=begun_s(outcome.samples) + SETTLED_S)
    told = {
        "limit_mib_s": limit_mib_s,
        "peak_mib_s": round(max(found), 2),
        "peak_with_start_and_end_mib_s": round(max(throughput.rates(outcome.samples)), 2),
        "windows": len(found),
    }
    add_environment(pytestconfig, f"bandwidth {limit_mib_s} {pair.id}", told)
    assert not throughput.over(limit_mib_s, profile.thresholds.bandwidth_tolerance_percent, found)
    if max(found) < limit_mib_s / 2:
        raise InconclusiveError(f"the link did not carry half of the limit: {told}")


@pytest.mark.requirement("LM-PAR-02", "LM-PAR-03")
def test_limit_changes_during_a_migration(
    make_guest: MakeGuest, migrate: Migrate, profile: Profile
) -> None:
    """
    A limit that is raised while a guest migrates is in force from then on.

    Preconditions: a migration at 16 MiB/s, under way for seconds.
    Expected: before the change the old limit is kept to, after it the new one, and more than the
    old one is used; libvirt tells the new value.
    """
    slow, fast = 16, 32
    guest = make_guest(ROOMY)
    domain = guest.domain
    started: list[float] = []
    asked: list[float] = []
    changed: list[float] = []
    told: list[int] = []

    def change() -> None:
        domain.set_bandwidth(fast)
        changed.append(latest[-1])
        told.append(domain.bandwidth())

    latest: list[float] = []
    changing = threading.Thread(target=change)  # samples go on while libvirt takes its time

    def look(sample: JobSample) -> bool:
        latest.append(sample.at_s)
        started.extend([sample.at_s] if sample.stats.get("memory_processed") else [])
        if not asked and started and sample.at_s - started[0] > SETTLED_S + 2.5:
            asked.append(sample.at_s)
            changing.start()
        return False

    outcome = migrate(guest, Plan(bandwidth_mib_s=slow), on_sample=look)

    if asked:
        changing.join(JOIN_SECONDS)
    if not changed:
        raise InconclusiveError("it was over before the limit could be changed")
    tolerance = profile.thresholds.bandwidth_tolerance_percent
    before = measured(outcome, since_s=started[0] + SETTLED_S, until_s=asked[0])
    later = measured(outcome, since_s=changed[0] + SETTLED_S)
    assert told == [fast]
    assert not throughput.over(slow, tolerance, before)
    assert not throughput.over(fast, tolerance, later)
    assert throughput.over(slow, tolerance, later)


@pytest.mark.requirement("LM-PAR-02", "LM-PAR-03")
@pytest.mark.extra
def test_postcopy_bandwidth(make_guest: MakeGuest, migrate: Migrate, profile: Profile) -> None:
    """
    Post-copy has a bandwidth limit of its own.

    Preconditions: the migration is switched to post-copy after a second.
    Expected: QEMU and libvirt tell the value; in post-copy no more is sent than it allows, and more
    than pre-copy may send. A host that cannot do post-copy says so.
    """
    before, limit = 16, 24
    guest = make_guest(FULL)
    guest.domain.set_bandwidth(limit, Phase.POSTCOPY)
    assert guest.domain.bandwidth(Phase.POSTCOPY) == limit
    in_force = guest.domain.monitor("query-migrate-parameters")["max-postcopy-bandwidth"]
    assert in_force == limit * MIB
    plan = Plan(
        bandwidth_mib_s=before,
        postcopy=True,
        postcopy_bandwidth_mib_s=limit,
        timeout=Timeout(1, TimeoutAction.POSTCOPY),
    )

    try:
        outcome = migrate(guest, plan)
    except MigrationRefused as refused:
        if "ostcopy" in refused.words:
            raise UnsupportedError(refused.words) from refused
        raise

    switched = [event.at_s for event in outcome.events if '"postcopy-active"' in event.detail]
    if not switched:
        raise InconclusiveError("it was over before post-copy began")
    # what is left at the very end goes in one piece
    end_s = outcome.samples[-1].at_s - SETTLED_S / 2
    found = measured(outcome, since_s=min(switched) + SETTLED_S, until_s=end_s)
    tolerance = profile.thresholds.bandwidth_tolerance_percent
    assert not throughput.over(limit, tolerance, found)
    assert throughput.over(before, tolerance, found)


def max_bandwidth(parameters: dict[str, object]) -> int:
    """Bytes per second."""
    return int(str(parameters["max-bandwidth"]))


def begun_s(samples: tuple[JobSample, ...]) -> float:
    """When the first data went, s from the start of the migration."""
    return next(sample.at_s for sample in samples if sample.stats.get("memory_processed"))


def measured(
    outcome: Outcome, *, since_s: float, until_s: float | None = None
) -> tuple[float, ...]:
    """MiB/s over every stretch of seconds, up to the moment when the guest stops at the source.
    Raises `InconclusiveError` when there is none."""
    if until_s is None:
        stops = (event for event in outcome.events if event.name == "STOP")
        until_s = next(event.at_s for event in stops if event.host == outcome.source)
    found = throughput.rates(outcome.samples, since_s=since_s, until_s=until_s)
    if not found:
        slowest = max((sample.took_s for sample in outcome.samples), default=0.0)
        raise InconclusiveError(
            f"no stretch of {throughput.WINDOW_SECONDS:g} s from {since_s:.1f} to {until_s:.1f} s; "
            f"the slowest answer took {slowest:.2f} s"
        )
    return found
