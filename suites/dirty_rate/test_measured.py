"""The dirty rate that QEMU tells, against what the load in the guest really does."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import pytest

from fixtures.plugins.guests import MakeGuest
from fixtures.plugins.hosts import Pair
from fixtures.plugins.records import add_environment
from migqual.errors import HostError, InconclusiveError, UnsupportedError
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
ROOMY = GuestSpec(memory_mib=512)
SET_MIB = 256
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
        return max(1, math.ceil(DRAWS / (mib * self.draws))) if mib else 1


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
        """Of the real rate; of the rate that the loads are given, where the guest does nothing."""
        return 100 * (self.measured - self.real) / (self.real or RATE_MIB_S)


def compared(dirtied: Region, load: MemoryLoad, way: Way) -> Compared:
    """Measured while the region is dirtied as `load` says."""
    wanted = load.mib if load.rate_mib_s is None else load.rate_mib_s
    windows = way.windows(curve_of(load.pattern, wanted, load.mib)(way.seconds))
    dirtied.restart(load.rate_mib_s)
    found = [way.ask(dirtied.guest.domain, way.seconds) for _ in range(windows)]
    written = dirtied.achieved_mib_s()
    if load.rate_mib_s and written < load.rate_mib_s / 2:
        raise InconclusiveError(f"asked to dirty {load.rate_mib_s} MiB/s, the guest did {written}")
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


@pytest.mark.requirement("LM-DRT-01")
@pytest.mark.quiet
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
    count says was dirtied, each page once. The report has every error and the mode.
    """
    guest = make_guest(ROOMY)

    found = all_compared(guest, WAYS[way])

    told = {name: f"{c.measured:.1f} of {c.real:.1f} MiB/s" for name, c in found.items()}
    errors = {f"{name}_error_percent": round(c.error_percent, 1) for name, c in found.items()}
    mode = found["sequential"].mode
    add_environment(pytestconfig, f"dirty rate {way} {pair.id}", {"mode": mode, **told, **errors})
    tolerance = profile.thresholds.dirty_rate_tolerance_percent
    assert {name: c for name, c in found.items() if abs(c.error_percent) > tolerance} == {}


def outside_its_definition(guest: Guest, mode: Mode) -> str:
    """What the stack does with the question, in words."""
    try:
        found = dirty_rate.by_monitor(guest.domain, 1, mode)
    except UnsupportedError as error:
        return f"refused: {error.message}"
    except HostError as error:
        return f"the guest is {guest.state()}: {error.message}"
    return f"told {found.mib_s} MiB/s of an idle guest"


@pytest.mark.requirement("LM-DRT-01")
@pytest.mark.extra
@pytest.mark.quiet
@pytest.mark.parametrize("mode", [Mode.BITMAP, Mode.RING], ids=str)
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
    stack may damage a guest that the mode is not defined for.
    Expected: under KVM the figure is within the profile's tolerance, or the stack refuses in its
    own words (unsupported). An emulated guest is outside the mode's definition: the report says
    what the stack did, and another guest of the same host is measured truly by sampling afterwards.
    """
    victim = make_guest(ROOMY)
    if mode not in dirty_rate.modes(victim.domain):
        raise UnsupportedError(f"QEMU on {pair.source.name} does not list {mode}")
    load = LOADS["sequential"]

    if dirty_rate.counts_kvm(victim.domain):
        way = Way(lambda domain, s: dirty_rate.by_monitor(domain, s, mode), seconds=1)
        with region(victim, load) as dirtied:
            found = compared(dirtied, load, way)
        told = f"{found.measured:.1f} of {found.real:.1f} MiB/s"
    else:
        told = outside_its_definition(victim, mode)
        if victim.state() != "running":
            del observers[victim.name]
        with region(make_guest(ROOMY), load) as dirtied:
            found = compared(dirtied, load, WAYS["qmp-sampled"])

    add_environment(pytestconfig, f"dirty rate {mode} {pair.id}", {"did": told})
    assert abs(found.error_percent) <= profile.thresholds.dirty_rate_tolerance_percent
