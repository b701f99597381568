"""What carries and limits a migration that has not begun: as it was given, or as the hosts tell."""

from collections.abc import Mapping
from dataclasses import dataclass

from migqual.errors import HostError
from migqual.hosts import emulator, link
from migqual.hosts.domain import Domain
from migqual.hosts.host import Host
from migqual.predict.advice import AUTO_CONVERGE, CHANNELS, POSTCOPY
from migqual.predict.precopy import Carrier, Wanted

GIGABIT_MIB_S = 112.0
SETUP_S = 0.5
DEVICES_S = 0.03
DEADLINE_S = 3600.0
_MIB_S_OF_MBIT_S = 0.112  # of the line rate, headers taken away
_NO_LIMIT_MIB_S = 2**40  # libvirt tells a number that no link comes near


@dataclass(frozen=True)
class Figure:
    """A value and where it comes from; None where there is no limit."""

    value: float | None
    origin: str


@dataclass(frozen=True)
class Given:
    """What a person said of it: MiB/s, MiB/s, ms. None asks the hosts."""

    link_mib_s: float | None = None
    bandwidth_mib_s: float | None = None
    downtime_ms: float | None = None


@dataclass(frozen=True)
class Assumed:
    """The link; the limits on bandwidth and downtime that are in force, or will be."""

    link_mib_s: Figure
    bandwidth_mib_s: Figure
    downtime_ms: Figure

    @property
    def carrier(self) -> Carrier:
        """While the guest rests its limit does not count."""
        fastest = self.link_mib_s.value or GIGABIT_MIB_S
        limit = min(fastest, self.bandwidth_mib_s.value or fastest)
        return Carrier(limit, fastest, SETUP_S, devices_s=DEVICES_S)

    @property
    def wanted(self) -> Wanted:
        return Wanted((self.downtime_ms.value or 0.0) / 1000, DEADLINE_S)


def assumed(given: Given, source: Host, destination: Host, domain: Domain) -> Assumed:
    """What was given; the rest as the interface and libvirt tell it. The guest is not touched."""
    return Assumed(
        _link(given.link_mib_s, source, destination),
        _bandwidth(given.bandwidth_mib_s, domain),
        _downtime(given.downtime_ms, domain),
    )


def _link(given: float | None, source: Host, destination: Host) -> Figure:
    if given is not None:
        return Figure(given, "--link")
    name = link.interface(source, destination)
    return told_by_interface(f"{source.name}'s {name}", link.speed_mbit_s(source, name))


def told_by_interface(whose: str, mbit_s: int | None) -> Figure:
    """At most: no migration is faster than the line. A gigabit where no speed is told."""
    if mbit_s is None:
        return Figure(GIGABIT_MIB_S, f"a gigabit: {whose} tells no speed; better give --link")
    return Figure(mbit_s * _MIB_S_OF_MBIT_S, f"at most: {whose} has {mbit_s} Mbit/s")


def _bandwidth(given: float | None, domain: Domain) -> Figure:
    if given is not None:
        return Figure(given, "--bandwidth")
    mib_s = domain.bandwidth()
    return Figure(mib_s if 0 < mib_s < _NO_LIMIT_MIB_S else None, "virsh migrate-getspeed")


def _downtime(given: float | None, domain: Domain) -> Figure:
    if given is not None:
        return Figure(given, "--downtime")
    return Figure(domain.max_downtime(), "virsh migrate-getmaxdowntime")


def lacking(source: Host, destination: Host) -> Mapping[str, str]:
    """Capabilities that would help and are not there, in words: a QEMU without a guest is asked at
    each end that needs it. One that cannot be asked has none."""
    found: dict[str, str] = {}
    for host, names in (
        (source, (AUTO_CONVERGE, POSTCOPY, CHANNELS)),
        (destination, (POSTCOPY, CHANNELS)),
    ):
        try:
            offer = emulator.offered(host)
        except HostError as error:
            found |= dict.fromkeys(names, f"{host.name}: its QEMU cannot be asked: {error}")
            continue
        words = f"{host.name}: {offer.version} has no migration capability"
        found |= {name: f"{words} {name}" for name in names if name not in offer.capabilities}
    return found
