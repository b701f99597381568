"""Namespaces, bridges and links of a lab. Nothing of it is in the machine's own network."""

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from migqual import places
from migqual.errors import LabError
from migqual.lab import state
from migqual.lab.command import run, succeeds
from migqual.lab.layout import CONTROLLER, NETWORKS, HostLayout, LabLayout
from migqual.lab.topology import Link, Role

SERVICE_BRIDGE = "br-svc"
CONTROLLER_ADDRESS = f"{NETWORKS['mgmt']}.2"


def build(layout: LabLayout) -> None:
    """Make every namespace and link. Raises `LabError` where the kernel or rights lack."""
    _claim_folder()
    namespaces = [layout.fabric, layout.controller, *(host.namespace for host in layout.hosts)]
    run(
        ["ip", "-batch", "-"],
        stdin="".join(f"netns add {name}\n" for name in namespaces),
        remedy="the machine must allow network namespaces: run as root, not in an unprivileged "
        "container",
    )
    for name in namespaces:
        _batch(name, ["link set lo up"])
    _batch(layout.fabric, _bridges())
    _batch(layout.fabric, _controller_port(layout))
    _batch(
        layout.controller,
        [f"addr add {CONTROLLER_ADDRESS}/24 dev mgmt", "link set mgmt up"],
    )
    for host in layout.hosts:
        _batch(layout.fabric, _ports(host))
        _batch(host.namespace, _interfaces(host))
        for network in host_networks(host):
            _shape(host, network, layout.link(network))


def _claim_folder() -> None:
    """Write down that `ip netns` will mount its folder for us, if it is not mounted yet."""
    if not _is_mounted(state.NAMESPACES):
        _claim().touch()


def release_folder() -> None:
    """Unmount and remove the folder of `ip netns`, if it was made for labs and none is left."""
    if not _claim().exists() or any(state.NAMESPACES.glob("*")):
        return
    if not _is_mounted(state.NAMESPACES) or succeeds(["umount", state.NAMESPACES]):
        _claim().unlink()
        with suppress(OSError):
            state.NAMESPACES.rmdir()


def _claim() -> Path:
    return places.labs() / ".netns"


def _is_mounted(folder: Path) -> bool:
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    return any(line.split()[4] == str(folder) for line in lines)


def port(host: str, network: str) -> str:
    """Name of the fabric's end of a host's link; cutting it cuts the link alone."""
    return f"{host}-{network}"


def host_networks(host: HostLayout) -> tuple[str, ...]:
    if host.spec.role is Role.HYPERVISOR:
        return tuple(NETWORKS)
    return tuple(host.addresses)


def _batch(name: str, lines: list[str]) -> None:
    run(["ip", "-n", name, "-batch", "-"], stdin="".join(f"{line}\n" for line in lines))


def _bridges() -> list[str]:
    lines = []
    for network in NETWORKS:
        lines.append(f"link add br-{network} type bridge forward_delay 0 mcast_snooping 0")
        lines.append(f"link set br-{network} up")
    return lines


def _veth(end: str, peer: str, peer_namespace: str, bridge: str) -> Iterator[str]:
    yield f"link add {end} type veth peer name {peer} netns {peer_namespace}"
    yield f"link set {end} master br-{bridge} up"


def _controller_port(layout: LabLayout) -> list[str]:
    return list(_veth(port(CONTROLLER, "mgmt"), "mgmt", layout.controller, "mgmt"))


def _ports(host: HostLayout) -> list[str]:
    return [
        line
        for network in host_networks(host)
        for line in _veth(port(host.name, network), network, host.namespace, network)
    ]


def _interfaces(host: HostLayout) -> list[str]:
    lines = [f"addr add {address}/24 dev {name}" for name, address in host.addresses.items()]
    lines += [f"link set {name} up" for name in host_networks(host)]
    if host.spec.role is Role.HYPERVISOR:
        lines.append(f"link add {SERVICE_BRIDGE} type bridge forward_delay 0 mcast_snooping 0")
        lines.append(f"link set svc master {SERVICE_BRIDGE}")
        lines.append(f"link set {SERVICE_BRIDGE} up")
    return lines


def _shape(host: HostLayout, network: str, link: Link) -> None:
    """Shape what the host sends. The kernel's own shapers; no figure is only pretended."""
    if link.rate_mbit is None and link.latency_ms is None:
        return
    argv = ["tc", "-n", host.namespace, "qdisc", "add", "dev", network, "root"]
    if link.latency_ms is not None:
        rate = [] if link.rate_mbit is None else ["rate", f"{link.rate_mbit}mbit"]
        argv += ["netem", "delay", f"{link.latency_ms}ms", *rate]
        if not succeeds(argv):
            raise LabError(
                f"link {network}: this kernel cannot delay packets (no netem)",
                remedy="remove latency_ms from the topology, or load the module sch_netem",
            )
        return
    burst_kib = max(64, (link.rate_mbit or 0) // 8)
    shape = ["tbf", "rate", f"{link.rate_mbit}mbit", "burst", f"{burst_kib}kb", "latency", "50ms"]
    run([*argv, *shape])
