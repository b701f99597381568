"""The bandwidth of a migration: set, read back, and kept to."""

import pytest

from fixtures.plugins.guests import MakeGuest
from fixtures.plugins.hosts import Pair
from fixtures.plugins.records import add_environment
from migqual.errors import InconclusiveError, StackError
from migqual.hosts.domain import Phase
from migqual.hosts.guest import Guest
from migqual.model import throughput
from migqual.model.documented import MIB, mbit_s
from migqual.model.guest import Content, GuestSpec, Load, MemoryLoad
from migqual.model.metrics import metrics
from migqual.model.outcome import JobSample, Outcome
from migqual.model.plan import Plan, Timeout, TimeoutAction
from migqual.model.profile import Profile
from suites.compression.compressing import Carried, Migrate, carry
from suites.convergence.postcopy import where_offered
from suites.parameters.changing import Change
from suites.parameters.in_force import InForce

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
# What goes beyond the limit at start and end is less than the limit carries in this time: QEMU lets
# as much be left for the end as it can send within its downtime limit of 300 ms.
FREE_S = 0.5
AT_ONCE_MIB_S = 10_000  # no limit to speak of


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
@pytest.mark.parametrize(
    "limit_mib_s", [16, pytest.param(32, marks=pytest.mark.long)], ids="{}mib-s".format
)
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
    profile's tolerance, and neither over the whole migration by the kernel's count on the link,
    which agrees with the job's; over half of the stretches at least 85 % of the limit. Where it is
    less, and a migration without a limit is no faster, the link was the limit and nothing is
    learnt. The peak with start and end is in the report.
    """
    guest = make_guest(FULL)

    carried = carry(migrate, pair, guest, Plan(bandwidth_mib_s=limit_mib_s))

    samples = carried.outcome.samples
    found = measured(carried.outcome, since_s=begun_s(samples) + SETTLED_S)
    told = {
        "limit_mib_s": limit_mib_s,
        "typical_mib_s": round(throughput.typical(found), 2),
        "peak_mib_s": round(max(found), 2),
        "peak_with_start_and_end_mib_s": round(max(throughput.rates(samples)), 2),
        "on_link_mib_s": round(on_link_mib_s(carried), 2),
        "windows": len(found),
    }
    add_environment(pytestconfig, f"bandwidth {limit_mib_s} {pair.id}", told)
    tolerance = profile.thresholds.bandwidth_tolerance_percent
    assert not throughput.over(limit_mib_s, tolerance, [*found, on_link_mib_s(carried)])
    made_use_of(limit_mib_s, found, guest, migrate)


@pytest.mark.requirement("LM-PAR-02", "LM-PAR-03")
def test_limit_is_in_force_during_a_migration(make_guest: MakeGuest, migrate: Migrate) -> None:
    """
    QEMU has the limit of a migration in force while that goes on, and a new one once it is changed.

    Preconditions: a migration at 16 MiB/s; the limit is raised to 32 MiB/s once QEMU was asked.
    Expected: QEMU tells each in bytes per second at its time, libvirt the new one in MiB/s. The
    rest of the guest goes without a limit.
    """
    guest = make_guest(ROOMY)
    first, second = (InForce(guest, "max-bandwidth") for _ in range(2))
    change = Change(guest.domain, 32, after_s=SETTLED_S)
    rest = Change(guest.domain, AT_ONCE_MIB_S, after_s=0)

    def look(sample: JobSample) -> bool:
        if first.found:
            change.look(sample)
        if change.changed_s is not None:
            second.look(sample)
        if second.found and change.told is not None:
            rest.look(sample)
        return first.look(sample)

    migrate(guest, Plan(bandwidth_mib_s=16), on_sample=look)

    change.moments_s()
    assert (first.value, change.told, second.value) == (16 * MIB, 32, 32 * MIB)


@pytest.mark.requirement("LM-PAR-02", "LM-PAR-03")
@pytest.mark.long
@pytest.mark.parametrize(
    ("old", "new"),
    [(16, 32), (24, 16)],
    ids=["raised", "lowered"],
)
def test_limit_changes_during_a_migration(
    old: int, new: int, make_guest: MakeGuest, migrate: Migrate, profile: Profile
) -> None:
    """
    A limit that is raised or lowered while a guest migrates is in force from then on.

    Preconditions: a migration at the old limit, under way for seconds.
    Expected: before the change the old limit is kept to and made use of, after it the new one;
    libvirt tells the new value.
    """
    guest = make_guest(ROOMY)
    change = Change(guest.domain, new, after_s=SETTLED_S + 2.5)

    outcome = migrate(guest, Plan(bandwidth_mib_s=old), on_sample=change.look)

    begun, asked, changed = change.moments_s()
    before = measured(outcome, since_s=begun + SETTLED_S, until_s=asked)
    later = measured(outcome, since_s=changed + SETTLED_S)
    assert change.told == new
    for kept_to, found in ((old, before), (new, later)):
        tolerance = profile.thresholds.bandwidth_tolerance_percent
        assert not throughput.over(kept_to, tolerance, found)
        made_use_of(kept_to, found, guest, migrate)


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

    with where_offered():
        outcome = migrate(guest, plan)

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


def made_use_of(limit_mib_s: int, found: tuple[float, ...], guest: Guest, migrate: Migrate) -> None:
    """Fails when a migration stayed well below its limit. Raises `InconclusiveError` when one
    without a limit is no faster: then the link is to blame."""
    if not throughput.unused(limit_mib_s, found):
        return
    words = f"{throughput.typical(found):.1f} of {limit_mib_s} MiB/s"
    free_mib_s = metrics(migrate(guest, Plan()))["throughput_avg_mib_s"] or 0
    if free_mib_s < limit_mib_s:
        raise InconclusiveError(f"{words}, and {free_mib_s:.1f} MiB/s without a limit")
    pytest.fail(f"{words}, although the link carries {free_mib_s:.1f} MiB/s")


def on_link_mib_s(carried: Carried) -> float:
    """Over the whole migration, by the kernel's count."""
    outcome = carried.outcome
    return carried.bytes / MIB / (outcome.seconds - begun_s(outcome.samples) + FREE_S)


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
        until_s = next((event.at_s for event in stops if event.host == outcome.source), None)
    if until_s is None:
        raise InconclusiveError("the source told of no stop of the guest")
    found = throughput.rates(outcome.samples, since_s=since_s, until_s=until_s)
    if not found:
        slowest = max((sample.took_s for sample in outcome.samples), default=0.0)
        raise InconclusiveError(
            f"no stretch of {throughput.WINDOW_SECONDS:g} s from {since_s:.1f} to {until_s:.1f} s; "
            f"the slowest answer took {slowest:.2f} s"
        )
    return found
