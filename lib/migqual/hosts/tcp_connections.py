"""Read the kernel's byte counts of the TCP connections of a guest's QEMU process (ss(8))."""

import re

from migqual.hosts.host import Host

_PID_PATTERN = re.compile(r"\bpid=(\d+)")
_RECEIVED_PATTERN = re.compile(r"\bbytes_received:(\d+)")
_ENDPOINT_INDEX = 3  # local endpoint, and the endpoint of the peer after it


def read_received_bytes(host: Host, guest_name: str, peer_addresses: tuple[str, ...]) -> int:
    """Read how many bytes QEMU of a guest on `host` has received from a peer so far.

    The kernel counts the bytes of each connection. Closed connections do not count.

    Args:
        host: The host of the QEMU process, for a migration the destination.
        guest_name: Name of the guest.
        peer_addresses: IP addresses of the peer.

    Raises:
        CommandFailed: `ss` fails.
    """
    pids = set(host.list_qemu_pids(guest_name))
    listing = host.shell.run("ss", "-tinpOH").stdout
    return sum_received_bytes(listing, pids, peer_addresses)


def list_addresses(host: Host) -> tuple[str, ...]:
    """List the IP addresses of all interfaces of the host (ip-address(8))."""
    lines = host.shell.run("ip", "-o", "addr", "show").stdout.splitlines()
    return tuple(
        fields[3].partition("/")[0]
        for fields in (line.split() for line in lines)
        if len(fields) > 3 and fields[2] in {"inet", "inet6"}  # NUMBER: NAME FAMILY ADDRESS
    )


def sum_received_bytes(listing: str, pids: set[int], peer_addresses: tuple[str, ...]) -> int:
    """Sum the received bytes of the connections of `pids` to `peer_addresses`.

    Args:
        listing: Output of ``ss -tinpOH``, one line for each connection.
        pids: Process ids.
        peer_addresses: IP addresses without brackets.
    """
    total = 0
    for line in listing.splitlines():
        fields = line.split()
        is_process = any(int(pid) in pids for pid in _PID_PATTERN.findall(line))
        if not is_process or len(fields) <= _ENDPOINT_INDEX + 1:
            continue
        peer = fields[_ENDPOINT_INDEX + 1].rpartition(":")[0].strip("[]")
        if peer.removeprefix("::ffff:") in peer_addresses:
            total += sum(int(count) for count in _RECEIVED_PATTERN.findall(line))
    return total
