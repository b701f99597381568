"""Query the migration link from a host to a peer: address, interface, speed and sent bytes."""

from contextlib import suppress
from ipaddress import ip_address
from pathlib import PurePosixPath

from migqual.errors import HostError
from migqual.hosts.host import Host

_SYSFS_NET = PurePosixPath("/sys/class/net")
# sysfs has an entry lower_NAME for each interface NAME that a bridge, bond or VLAN uses.
_LOWER_PREFIX = "lower_"


def resolve_migration_address(host: Host, peer: Host) -> str:
    """Return the IP address of `peer` for migrations; a name is resolved on `host`.

    Raises:
        HostError: `host` cannot resolve the name.
    """
    return resolve_addresses(host, peer.entry.migration_endpoint)[0]


def resolve_addresses(host: Host, name: str) -> tuple[str, ...]:
    """Resolve a name to all IPv4 and IPv6 addresses; `host` resolves the name.

    The order is the order of getaddrinfo(3). For an IP address the result is only the address.

    Raises:
        HostError: `host` cannot resolve the name.
    """
    with suppress(ValueError):
        return (str(ip_address(name)),)
    lines = host.shell.run_unchecked("getent", "ahosts", name).stdout.splitlines()
    addresses = tuple(dict.fromkeys(line.split()[0] for line in lines))
    if not addresses:
        raise HostError(
            host.name,
            f"the name {name} resolves to no IP address",
            remedy=f"replace {name} by an IP address in the inventory: migqual_migration_address",
        )
    return addresses


def find_migration_interface(host: Host, peer: Host) -> str:
    """Find the interface through which `host` reaches the migration address of `peer`.

    Raises:
        HostError: `host` has no route to the address.
    """
    address = resolve_migration_address(host, peer)
    # output: "10.77.2.12 dev mig src 10.77.2.11 uid 0"; a gateway adds "via ADDRESS" before
    # "dev"
    route_fields = host.shell.run("ip", "-o", "route", "get", address).stdout.split()
    if "dev" not in route_fields:
        raise HostError(
            host.name,
            f"no route to {address}: {' '.join(route_fields)}",
            remedy=f"check migqual_migration_address of {peer.name} and the routes of {host.name}",
        )
    return route_fields[route_fields.index("dev") + 1]


def read_speed_mbit_s(host: Host, interface: str) -> int | None:
    """Read the speed of an interface in Mbit/s.

    For a bridge, bond or VLAN, the result is the highest speed of its physical interfaces.
    The speed that Linux reports for the virtual interface itself has no meaning.

    Returns:
        The speed; None when no physical interface reports a speed.
    """
    entries = host.shell.run_unchecked("ls", _SYSFS_NET / interface).stdout.split()
    if "device" in entries:
        speed_text = host.shell.run_unchecked(
            "cat", _SYSFS_NET / interface / "speed"
        ).stdout.strip()
        return int(speed_text) if speed_text.isdecimal() and int(speed_text) > 0 else None
    lower_interfaces = [
        entry.removeprefix(_LOWER_PREFIX) for entry in entries if entry.startswith(_LOWER_PREFIX)
    ]
    return max(
        filter(
            None, (read_speed_mbit_s(host, lower_interface) for lower_interface in lower_interfaces)
        ),
        default=None,
    )


def read_sent_bytes(host: Host, peer: Host) -> int:
    """Read how many bytes `host` has sent on the interface that leads to `peer`.

    Linux counts all bytes that leave the interface, also bytes to other receivers than `peer`.
    """
    path = _SYSFS_NET / find_migration_interface(host, peer) / "statistics" / "tx_bytes"
    return int(host.shell.run("cat", path).stdout)
