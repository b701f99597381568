"""Find machines on the service network that already use an address or a MAC of the guests.

A guest with the address of another machine would disturb that machine, and the gap meter would
count the replies of the wrong machine.
"""

import re
from collections.abc import Collection, Iterable, Sequence

from migqual.errors import HostError
from migqual.hosts.host import Host

USED_ADDRESS_REMEDY = (
    "choose free addresses for migqual_service_network; if guests of a crashed run use the "
    "addresses, run `migqual sweep`"
)
_REPLY_SECONDS = 1.5  # the kernel repeats its request for a MAC after 1 s
# Limit for one call of the script, because the kernel's neighbor table is small
# (net.ipv4.neigh.default.gc_thresh2).
_MAX_ADDRESSES = 512
# Delete the neighbor entries of all addresses, send a datagram to each address, and print the
# neighbor table.
_ASK_SCRIPT = f"""
device=$(ip -o route get "$1" | sed -n 's/.* dev \\([^ ]*\\).*/\\1/p')
for attempt in 1 2 3 4 5; do  # the kernel may add an entry in use again
  known=$(ip neigh show dev "$device" | sed -n 's/ .*lladdr.*//p')
  known=$(grep -xF -f <(printf '%s\\n' "$@") <<< "$known")
  [ -n "$known" ] || break
  # one call for each address: ip -batch would end at the first address without an entry
  for address in $known; do ip neigh del "$address" dev "$device"; done
  sleep 0.2
done
for address; do
  {{ exec 3<>"/dev/udp/$address/9" && printf x >&3; }} 2>/dev/null
done
sleep {_REPLY_SECONDS}
ip neigh show
"""
# Only a reply makes an entry REACHABLE. A frame without a request makes the entry STALE.
_NEIGHBOR_PATTERN = re.compile(r"^(\S+) dev \S+ lladdr (\S+) .*\bREACHABLE\b", re.MULTILINE)


def find_used_addresses(client: Host, addresses: Sequence[str]) -> dict[str, str]:
    """Find the addresses to which a machine on the service network replies.

    The client sends one datagram to port 9 (discard) of each address. The neighbor table of the
    kernel (ip-neighbour(8)) shows the machines that replied to the address resolution, also if a
    firewall drops the datagram.

    Returns:
        The used addresses, each with the MAC of the machine that replied.
    """
    used_addresses: dict[str, str] = {}
    for start in range(0, len(addresses), _MAX_ADDRESSES):
        chunk = addresses[start : start + _MAX_ADDRESSES]
        neighbors = client.shell.run("bash", "-c", _ASK_SCRIPT, "bash", *chunk).stdout
        used_addresses |= parse_used_addresses(neighbors, chunk)
    return used_addresses


def parse_used_addresses(neighbors: str, addresses: Collection[str]) -> dict[str, str]:
    """Parse the output of `ip neigh show`; return the MAC of each of `addresses` that replied."""
    return {
        address: mac
        for address, mac in _NEIGHBOR_PATTERN.findall(neighbors)
        if address in addresses
    }


def find_used_macs(host: Host, macs: Iterable[str]) -> list[str]:
    """Find the MACs of `macs` that a bridge of a host has seen.

    The function asks all bridges of Linux (``bridge fdb show``). If the service bridge is a bridge
    of Open vSwitch, the function also asks the service bridge (``ovs-appctl fdb/show``).
    """
    output = host.shell.run_unchecked("bridge", "fdb", "show").stdout
    if host.has_ovs_bridge:
        argv = ("ovs-appctl", "fdb/show", host.entry.service_bridge)
        output += host.shell.run_unchecked(*argv).stdout
    seen_macs = set(output.lower().split())
    return [mac for mac in macs if mac.lower() in seen_macs]


def check_free_addresses(
    client: Host, hypervisors: Sequence[Host], addresses: Sequence[str], macs: Sequence[str]
) -> None:
    """Check that no machine on the service network uses an address or a MAC of the guests.

    Raises:
        HostError: A machine uses an address or a MAC.
    """
    used_addresses = find_used_addresses(client, addresses)
    if used_addresses:
        raise HostError(
            client.name, describe_used_addresses(used_addresses), remedy=USED_ADDRESS_REMEDY
        )
    for host in hypervisors:
        if used_macs := find_used_macs(host, macs):
            raise HostError(
                host.name,
                f"another machine already uses the MAC {used_macs[0]}, planned for a guest",
                remedy="start a new run: each run has other MACs",
            )


def describe_used_addresses(used_addresses: dict[str, str]) -> str:
    """Name the first three used addresses with their MACs, and count the other used addresses."""
    examples = [f"{address} ({mac})" for address, mac in list(used_addresses.items())[:3]]
    rest = len(used_addresses) - len(examples)
    return (
        f"addresses of migqual_service_network are in use: {', '.join(examples)}"
        f"{f' and {rest} more' if rest else ''}"
    )
