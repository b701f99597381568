"""Create the network namespaces, bridges and links of a lab.

The network configuration of the machine does not change.
"""

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from migqual import paths
from migqual.errors import LabError
from migqual.lab import state
from migqual.lab.layout import CONTROLLER_NAME, NETWORK_PREFIXES, HostLayout, LabLayout
from migqual.lab.local_command import run_local_command, try_local_command
from migqual.lab.topology import LabRole, Link

CONTROLLER_ADDRESS = f"{NETWORK_PREFIXES['mgmt']}2"


def create_network(layout: LabLayout) -> None:
    """Create all network namespaces, bridges and links of the lab.

    Raises:
        LabError: The kernel lacks a feature, or the user has not enough rights.
    """
    _mark_netns_folder()
    run_local_command(
        ["ip", "-batch", "-"],
        stdin="".join(f"netns add {name}\n" for name in layout.namespaces),
        remedy="the machine must allow network namespaces: run as root, not in an unprivileged "
        "container",
    )
    for name in layout.namespaces:
        _run_ip_batch(name, ["link set lo up"])
    _run_ip_batch(layout.bridge_namespace, _build_bridge_commands())
    _run_ip_batch(layout.bridge_namespace, _build_controller_commands(layout))
    _run_ip_batch(
        layout.controller_namespace,
        [f"addr add {CONTROLLER_ADDRESS}/24 dev mgmt", "link set mgmt up"],
    )
    for host in layout.hosts:
        _run_ip_batch(layout.bridge_namespace, _build_port_commands(host))
        _run_ip_batch(host.namespace, _build_interface_commands(host))
        for network in list_host_networks(host):
            _apply_link_shaping(host, network, layout.get_link(network))


def _mark_netns_folder() -> None:
    """Create a marker file if `/run/netns` is not a mount point yet.

    Later, `ip netns add` makes `/run/netns` a mount point. The marker file shows that a lab caused
    this mount, so `remove_netns_folder` may unmount `/run/netns`.
    """
    if not _is_mounted(state.NAMESPACE_FOLDER):
        _get_netns_marker().touch()


def remove_netns_folder() -> None:
    """Unmount and remove `/run/netns`, the folder of network namespaces.

    The function does nothing if the folder contains a namespace, or if the folder was a mount
    point before the first lab.
    """
    if not _get_netns_marker().exists() or any(state.NAMESPACE_FOLDER.glob("*")):
        return
    if not _is_mounted(state.NAMESPACE_FOLDER) or try_local_command(
        ["umount", state.NAMESPACE_FOLDER]
    ):
        _get_netns_marker().unlink()
        with suppress(OSError):
            state.NAMESPACE_FOLDER.rmdir()


def _get_netns_marker() -> Path:
    return paths.get_labs_folder() / ".netns"


def _is_mounted(folder: Path) -> bool:
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    return any(line.split()[4] == str(folder) for line in lines)


def get_port_name(host_name: str, network: str) -> str:
    """Return the name of the bridge port that connects a host to a network, such as `a1-mig`.

    The port is in the bridge namespace. The command `ip link set PORT down` cuts the link.
    """
    return f"{host_name}-{network}"


def list_host_networks(host: HostLayout) -> tuple[str, ...]:
    """List the networks to which the host has a link: `mgmt`, `mig` or `svc`."""
    if host.spec.role is LabRole.HYPERVISOR:
        return tuple(NETWORK_PREFIXES)
    return tuple(host.addresses)


def _run_ip_batch(namespace: str, lines: list[str]) -> None:
    run_local_command(
        ["ip", "-n", namespace, "-batch", "-"], stdin="".join(f"{line}\n" for line in lines)
    )


def _build_bridge_commands() -> list[str]:
    lines = []
    for network in NETWORK_PREFIXES:
        lines.append(f"link add br-{network} type bridge forward_delay 0 mcast_snooping 0")
        lines.append(f"link set br-{network} up")
    return lines


def _build_veth_commands(
    port_name: str, peer: str, peer_namespace: str, bridge: str
) -> Iterator[str]:
    yield f"link add {port_name} type veth peer name {peer} netns {peer_namespace}"
    yield f"link set {port_name} master br-{bridge} up"


def _build_controller_commands(layout: LabLayout) -> list[str]:
    return list(
        _build_veth_commands(
            get_port_name(CONTROLLER_NAME, "mgmt"), "mgmt", layout.controller_namespace, "mgmt"
        )
    )


def _build_port_commands(host: HostLayout) -> list[str]:
    return [
        line
        for network in list_host_networks(host)
        for line in _build_veth_commands(
            get_port_name(host.name, network), network, host.namespace, network
        )
    ]


def _build_interface_commands(host: HostLayout) -> list[str]:
    lines = [
        f"addr add {address}/{host.get_prefix_length(name)} dev {name}{_get_address_flags(address)}"
        for name, address in host.addresses.items()
    ]
    lines += [f"link set {name} up" for name in list_host_networks(host)]
    quirks = host.spec.quirks
    # the host itself creates a bridge of Open vSwitch during the boot
    if host.spec.role is LabRole.HYPERVISOR and not quirks.has_ovs_bridge:
        bridge = quirks.service_bridge
        lines.append(f"link add {bridge} type bridge forward_delay 0 mcast_snooping 0")
        lines.append(f"link set svc master {bridge}")
        lines.append(f"link set {bridge} up")
    if quirks.jump_host is not None:
        lines.append(f"route add unreachable {CONTROLLER_ADDRESS}")
    return lines


def _get_address_flags(address: str) -> str:
    """Return " nodad" (no duplicate address detection) for an IPv6 address, "" for IPv4."""
    return " nodad" if ":" in address else ""


def _apply_link_shaping(host: HostLayout, network: str, link: Link) -> None:
    """Apply the rate limit and the latency of a link to all packets that the host sends.

    For a latency the function adds the qdisc netem. For a rate limit alone it adds the qdisc tbf.

    Raises:
        LabError: The link has a latency, but the kernel has no netem.
    """
    if link.rate_mbit is None and link.latency_ms is None:
        return
    argv = ["tc", "-n", host.namespace, "qdisc", "add", "dev", network, "root"]
    if link.latency_ms is not None:
        rate_arguments = [] if link.rate_mbit is None else ["rate", f"{link.rate_mbit}mbit"]
        argv += ["netem", "delay", f"{link.latency_ms}ms", *rate_arguments]
        if not try_local_command(argv):
            raise LabError(
                f"host {host.name}, network {network}: this kernel cannot delay packets (no netem)",
                remedy="remove latency_ms from the topology, or run `modprobe sch_netem`",
            )
        return
    burst_kib = max(64, (link.rate_mbit or 0) // 8)
    tbf_arguments = [
        "tbf",
        "rate",
        f"{link.rate_mbit}mbit",
        "burst",
        f"{burst_kib}kb",
        "latency",
        "50ms",
    ]
    run_local_command([*argv, *tbf_arguments])
