"""The dirty rate that QEMU tells, against what the load in the guest really does."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import pytest

from fixtures.plugins.guests import MakeGuest
from fixtures.plugins.hosts import Pair
from fixtures.plugins.records import add_environment
from migqual.deadline import Deadline
from migqual.errors import (
    CommandFailed,
    ConnectionLost,
    HostError,
    InconclusiveError,
    UnsupportedError,
)
from migqual.hosts import dirty_rate
from migqual.hosts.dirty_rate import Measured, Mode
from migqual.hosts.domain import Domain
from migqual.hosts.guest import Guest
from migqual.hosts.region import Region, region
from migqual.model.guest import GuestSpec, MemoryLoad, Pattern
from migqual.model.profile import Profile
from migqual.observe.observed import Observers
from migqual.predict.loads import curve_of

# Sampling is a draw: QEMU looks at 512 pages of each GiB unless told otherwise, and a page is dirty
# or not. So many windows are taken that about so many dirty ones are drawn: one sigma is 8 %.
DRAWS = 150
DRAWS_OF_MIB = 0.5
PAGES_OF_MIB = 256
ROOMY = GuestSpec(memory_mib=512)
RINGED = replace(ROOMY, dirty_ring=4096)
# A guest at rest still answers its probes. One page of the 256 that are drawn of 512 MiB is told as
# 2 MiB/s, and half of one is added to every figure but 0.
IDLE_MIB_S = 5.0
IDLE_WINDOWS = 3
SET_MIB = 256
SETTLED_S = 30.0
RATE_MIB_S = 120
LOADS = {
    "idle": MemoryLoad(SET_MIB, 0, Pattern.SEQUENTIAL, touch="header"),
    "sequential": MemoryLoad(SET_MIB, RATE_MIB_S, Pattern.SEQUENTIAL, touch="header"),
    "random": MemoryLoad(SET_MIB, RATE_MIB_S, Pattern.RANDOM, touch="header"),
    "hot spot": MemoryLoad(SET_MIB, RATE_MIB_S, Pattern.HOT_SPOT, touch="header"),
    "fastest": MemoryLoad(SET_MIB, None, Pattern.SEQUENTIAL, touch="header"),
}


@dataclass(frozen=True)
class Way:
    """How it is asked, and for how many s. `draws` are pages that are looked at in each MiB."""

    ask: Callable[[Domain, int], Measured]
    seconds: int
    draws: float = DRAWS_OF_MIB

    def windows(self, mib: float) -> int:
        """How often, where `mib` are dirtied in each window; the mean counts."""
        return max(1, math.ceil(DRAWS / (mib * self.draws))) if mib else IDLE_WINDOWS


def as_documented(domain: Domain, seconds: int) -> Measured:
    return dirty_rate.by_monitor(domain, seconds)


def well_sampled(domain: Domain, seconds: int) -> Measured:
    return dirty_rate.by_monitor(domain, seconds, Mode.SAMPLING, samples=dirty_rate.MOST_SAMPLES)


WAYS = {
    "qmp": Way(as_documented, seconds=1),
    "qmp-sampled": Way(well_sampled, seconds=1, draws=dirty_rate.MOST_SAMPLES / 1024),
    "libvirt": Way(dirty_rate.by_libvirt, seconds=1),
}


@dataclass(frozen=True)
class Compared:
    """MiB/s of unique memory: measured, and by the program's own count."""

    measured: float
    real: float
    mode: str

    @property
    def error_percent(self) -> float:
        """Of the real rate; none is known of a guest that does nothing."""
        return 100 * (self.measured - self.real) / self.real if self.real else math.nan

    def true(self, profile: Profile) -> bool:
        """Within the profile's tolerance; of a guest at rest, hardly anything."""
        if not self.real:
            return self.measured <= IDLE_MIB_S
        return abs(self.error_percent) <= profile.thresholds.dirty_rate_tolerance_percent


def compared(dirtied: Region, load: MemoryLoad, way: Way) -> Compared:
    """Measured while the region is dirtied as `load` says."""
    wanted = load.mib if load.rate_mib_s is None else load.rate_mib_s
    windows = way.windows(curve_of(load.pattern, wanted, load.mib)(way.seconds))
    dirtied.restart(load.rate_mib_s)
    found = [way.ask(dirtied.guest.domain, way.seconds) for _ in range(windows)]
    written = dirtied.achieved_mib_s()
    least = 1.0 if load.rate_mib_s is None else load.rate_mib_s / 2
    if written < least:
        raise InconclusiveError(f"asked to dirty {wanted} MiB/s, the guest did {written}")
    real = curve_of(load.pattern, written, load.mib)(way.seconds) / way.seconds
    measured = sum(one.mib / one.seconds for one in found) / len(found)
    return Compared(measured, real, found[0].mode)


def all_compared(guest: Guest, way: Way) -> dict[str, Compared]:
    """Every load. Those that differ in their rate only share a region: to fill one takes long."""
    found: dict[str, Compared] = {}
    for pattern in Pattern:
        mine = {name: load for name, load in LOADS.items() if load.pattern is pattern}
        with region(guest, next(iter(mine.values()))) as dirtied:
            found |= {name: compared(dirtied, load, way) for name, load in mine.items()}
    return found


def untrue(found: dict[str, Compared], profile: Profile) -> dict[str, Compared]:
    return {name: one for name, one in found.items() if not one.true(profile)}


def report(config: pytest.Config, name: str, found: dict[str, Compared]) -> None:
    """Every figure, every error, and the mode."""
    told = {name: f"{c.measured:.1f} of {c.real:.1f} MiB/s" for name, c in found.items()}
    errors = {
        f"{name}_error_percent": round(c.error_percent, 1) for name, c in found.items() if c.real
    }
    add_environment(config, name, {"mode": found["sequential"].mode, **told, **errors})


def guest_for(mode: Mode, make_guest: MakeGuest) -> Guest:
    """With a dirty ring where the mode is the ring's, and the guest is KVM's. Raises
    `UnsupportedError` with the stack's words where it takes no ring."""
    if mode is not Mode.RING:
        return make_guest(ROOMY)
    try:
        return make_guest(RINGED)
    except (CommandFailed, ConnectionLost):
        raise
    except HostError as error:
        raise UnsupportedError(error.message) from error


@pytest.mark.requirement("LM-DRT-01")
@pytest.mark.quiet(together=True)
@pytest.mark.long
@pytest.mark.parametrize("way", WAYS)
def test_measured_is_what_the_guest_dirties(
    make_guest: MakeGuest, profile: Profile, pair: Pair, pytestconfig: pytest.Config, way: str
) -> None:
    """
    The rate measured over a chosen time is the one at which the guest dirties its memory.

    Preconditions: the guest's program dirties a working set at a known rate: not at all, in order,
    at random, mostly in a hot tenth, and as fast as it can. Asked as the documentation does, with
    as many samples as QEMU allows, and through libvirt.
    Expected: each figure is within the profile's tolerance of the memory that the program's own
    count says was dirtied, each page once; hardly anything of a guest at rest. The report has every
    error and the mode.
    """
    guest = make_guest(ROOMY)

    found = all_compared(guest, WAYS[way])

    report(pytestconfig, f"dirty rate {way} {pair.id}", found)
    assert untrue(found, profile) == {}


@pytest.mark.requirement("LM-DRT-01")
@pytest.mark.extra
@pytest.mark.long
@pytest.mark.quiet(together=True)
@pytest.mark.parametrize("mode", [Mode.BITMAP, Mode.RING], ids=str)
def test_libvirt_counts_what_the_guest_dirties(
    make_guest: MakeGuest, profile: Profile, pair: Pair, pytestconfig: pytest.Config, mode: Mode
) -> None:
    """
    The modes that count KVM's log tell the rate through libvirt as well.

    Preconditions: a KVM guest, with a dirty ring for the mode of the ring, under the same loads.
    An emulated guest is not asked: it has no such log (unsupported).
    Expected: each figure is as near as those of sampling must be, or the stack refuses in its own
    words (unsupported).
    """
    guest = guest_for(mode, make_guest)
    if not dirty_rate.counts_kvm(guest.domain):
        raise UnsupportedError(f"{pair.source.name}: {mode} counts KVM's log; guests are emulated")

    def ask(domain: Domain, seconds: int) -> Measured:
        return dirty_rate.by_libvirt(domain, seconds, mode)

    found = all_compared(guest, Way(ask, seconds=1, draws=PAGES_OF_MIB))

    report(pytestconfig, f"dirty rate libvirt {mode} {pair.id}", found)
    assert untrue(found, profile) == {}


def outside_its_definition(guest: Guest, mode: Mode) -> str:
    """What the stack does with the question, in words."""
    try:
        found = dirty_rate.by_monitor(guest.domain, 1, mode)
    except UnsupportedError as error:
        return f"refused: {error.message}"
    except HostError as error:
        return f"the guest is {settled(guest)}: {error.message}"
    return f"told {found.mib_s} MiB/s of an idle guest"


def settled(guest: Guest) -> str:
    """Its state, once QEMU bears out what libvirt says: one that has just died is still running
    for libvirt."""

    def agreed() -> str:
        state = guest.state()
        try:
            if state == "running":
                guest.domain.monitor("query-status")
        except HostError:
            return ""
        return state

    return Deadline(SETTLED_S).wait_for("QEMU to answer, or libvirt to see it dead", agreed)


@pytest.mark.requirement("LM-DRT-01")
@pytest.mark.extra
@pytest.mark.quiet(together=True)
@pytest.mark.parametrize(
    "mode", [Mode.BITMAP, pytest.param(Mode.RING, marks=pytest.mark.long)], ids=str
)
def test_other_modes_say_what_they_measure(
    make_guest: MakeGuest,
    observers: dict[str, Observers],
    profile: Profile,
    pair: Pair,
    pytestconfig: pytest.Config,
    mode: Mode,
) -> None:
    """
    A mode that counts KVM's log measures a KVM guest truly; what it does elsewhere is told.

    Preconditions: QEMU's schema lists the mode. It is asked of a guest that nobody needs: a
    stack may damage a guest that the mode is not defined for. A KVM guest has a dirty ring for the
    mode of the ring.
    Expected: under KVM the figure is within the profile's tolerance, or the stack refuses in its
    own words (unsupported). An emulated guest is outside the mode's definition: the report says
    what the stack did, and another guest of the same host is measured truly by sampling afterwards.
    """
    victim = guest_for(mode, make_guest)
    if mode not in dirty_rate.modes(victim.domain):
        raise UnsupportedError(f"QEMU on {pair.source.name} does not list {mode}")
    load = LOADS["sequential"]

    if dirty_rate.counts_kvm(victim.domain):
        counted = Way(lambda domain, s: dirty_rate.by_monitor(domain, s, mode), 1, PAGES_OF_MIB)
        with region(victim, load) as dirtied:
            found = compared(dirtied, load, counted)
        told = f"{found.measured:.1f} of {found.real:.1f} MiB/s"
    else:
        told = outside_its_definition(victim, mode)
        if victim.state() != "running":
            del observers[victim.name]
        with region(make_guest(ROOMY), load) as dirtied:
            found = compared(dirtied, load, WAYS["qmp-sampled"])

    add_environment(pytestconfig, f"dirty rate {mode} {pair.id}", {"did": told})
    assert found.true(profile), found
