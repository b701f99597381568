"""The link between two hosts: where it leads, how fast it is, and what really crosses it by the
kernel's own counter."""

from contextlib import suppress
from ipaddress import ip_address
from pathlib import PurePosixPath

from migqual.errors import HostError
from migqual.hosts.host import Host

_NET = PurePosixPath("/sys/class/net")
_LOWER = "lower_"  # what a bridge, bond or VLAN stands on


def address(origin: Host, towards: Host) -> str:
    """The IP address that `origin` takes for the migration address of `towards`."""
    text = towards.entry.migration_address or towards.entry.address
    with suppress(ValueError):
        return str(ip_address(text))
    words = origin.shell.attempt("getent", "ahosts", text).stdout.split()
    if not words:
        raise HostError(
            origin.name,
            f"{text} has no address here",
            remedy=f"give {towards.name} a migqual_migration_address",
        )
    return words[0]


def interface(host: Host, towards: Host) -> str:
    """The interface of `host` through which it reaches the migration address of `towards`."""
    where = address(host, towards)
    # "10.77.2.12 dev mig src 10.77.2.11 uid 0", with "via ADDRESS" before a gateway
    words = host.shell.run("ip", "-o", "route", "get", where).stdout.split()
    if "dev" not in words:
        raise HostError(host.name, f"no way to {where}: {' '.join(words)}")
    return words[words.index("dev") + 1]


def speed_mbit_s(host: Host, name: str) -> int | None:
    """The speed that the interface tells, Mbit/s; of one without a device of its own that of the
    fastest below it. None where there is none: what a virtual interface tells means nothing."""
    entries = host.shell.attempt("ls", _NET / name).stdout.split()
    if "device" in entries:
        told = host.shell.attempt("cat", _NET / name / "speed").stdout.strip()
        return int(told) if told.isdecimal() and int(told) > 0 else None
    lower = [one.removeprefix(_LOWER) for one in entries if one.startswith(_LOWER)]
    return max(filter(None, (speed_mbit_s(host, one) for one in lower)), default=None)


def sent_bytes(host: Host, towards: Host) -> int:
    """Bytes that `host` has ever sent through that interface."""
    path = _NET / interface(host, towards) / "statistics" / "tx_bytes"
    return int(host.shell.run("cat", path).stdout)
