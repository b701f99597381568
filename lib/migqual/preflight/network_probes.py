"""Probe the connections between two hosts: migration ports, libvirt, bridges of the guest."""

import random
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from urllib.parse import urlsplit

from migqual.errors import HostError
from migqual.hosts import libvirt_queries, network_link
from migqual.hosts.domain_definition import Nic
from migqual.hosts.host import Host
from migqual.hosts.host_names import translate_bridge
from migqual.preflight.facts import ConnectionAttempt, ConnectionPurpose, NetworkSegment
from migqual.probes.fact import Fact, Missing, fact_or_missing
from migqual.probes.probe_context import ProbeContext, generate_token_name

# libvirt's default range of migration ports; qemu.conf can change the range
DEFAULT_MIGRATION_PORTS = range(49152, 49216)
_DEFAULT_LIBVIRT_PORTS = {"ssh": 22, "libssh": 22, "libssh2": 22, "tls": 16514, "tcp": 16509}
_PORT_SETTING = re.compile(r"^ *migration_port_(min|max) *= *\"?(\d+)", re.MULTILINE)
_PORT_ATTEMPTS = 5
_CONNECT_SECONDS = "2"


def probe_data_port(host: Host, peer: Host, probe_context: ProbeContext) -> ConnectionAttempt:
    """Test whether the host can connect to a migration port of the peer over TCP.

    The payload (migqual's program) listens on a free migration port of the peer. The attempt
    succeeds when the host gets the payload's reply over the connection.
    """
    address = peer.entry.migration_endpoint

    def connect_to_free_port(ip_address: str) -> tuple[bool, str, int]:
        for port in random.sample(_list_probe_ports(peer), _PORT_ATTEMPTS):
            listen_command = (
                probe_context.get_payload_path(peer),
                "tcp",
                "listen",
                ip_address,
                str(port),
                "--seconds",
                "3",
            )
            with peer.shell.start(*listen_command) as listener:
                first_line = listener.read_first_line()
                if first_line.startswith("ready"):
                    message = _connect_to_port(host, ip_address, port, probe_context)
                    return message == "passed", message, port
        raise HostError(
            peer.name, f"cannot listen on a migration port of {ip_address}: {first_line}"
        )

    return _attempt_connection(
        ConnectionPurpose.DATA,
        host,
        peer,
        address,
        lambda: _try_addresses(host, address, connect_to_free_port),
    )


def probe_libvirt_connection(
    host: Host, peer: Host, probe_context: ProbeContext
) -> Iterator[ConnectionAttempt]:
    """Try to connect from the host to libvirt of the peer, with the peer's libvirt URI.

    Yields:
        The attempt to connect to the port of the URI, then the attempt to run `virsh hostname`
        with the URI.
    """
    uri = peer.entry.peer_uri
    uri_parts = urlsplit(uri)
    transport = uri_parts.scheme.partition("+")[2] or "tls"
    port = uri_parts.port or _DEFAULT_LIBVIRT_PORTS.get(transport, 0)
    peer_name = uri_parts.hostname or peer.entry.address

    def connect_to_libvirt_port(ip_address: str) -> tuple[bool, str, int]:
        message = _connect_to_port(host, ip_address, port, probe_context)
        # the payload sends a token; libvirt or sshd accepts the connection, but returns no token
        accepted = message.startswith(("passed", "connected"))
        return accepted, "passed" if accepted else message, port

    port_attempt = _attempt_connection(
        ConnectionPurpose.CONTROL,
        host,
        peer,
        peer_name,
        lambda: _try_addresses(host, peer_name, connect_to_libvirt_port),
    )
    yield port_attempt

    def query_peer_hostname() -> tuple[bool, str, int]:
        if port_attempt.succeeded is False:
            return False, f"port {port} of {peer_name} cannot be reached", port
        result = host.shell.run_unchecked("virsh", "-c", uri, "hostname", seconds=30)
        if result.status in {126, 127}:
            raise HostError(host.name, "virsh is not installed")
        return result.status == 0, " ".join(result.stderr.split()), port

    yield _attempt_connection(ConnectionPurpose.LIBVIRT, host, peer, uri, query_peer_hostname)


def probe_network_segment(
    nic: Nic, source: Host, destination: Host, probe_context: ProbeContext
) -> NetworkSegment:
    """Probe, in both directions, whether frames pass between the bridges of both hosts."""
    source_bridge = _find_bridge(nic, source)
    destination_bridge = _find_bridge(_translate_nic(nic, source, destination), destination)
    frames_pass: Fact[bool]
    if isinstance(source_bridge, Missing):
        frames_pass = source_bridge
    elif isinstance(destination_bridge, Missing):
        frames_pass = False
    else:
        frames_pass = fact_or_missing(
            lambda: (
                _is_frame_received(
                    source, source_bridge, destination, destination_bridge, probe_context
                )
                and _is_frame_received(
                    destination, destination_bridge, source, source_bridge, probe_context
                )
            )
        )
    return NetworkSegment(nic, source_bridge, destination_bridge, frames_pass)


def _attempt_connection(
    purpose: ConnectionPurpose,
    host: Host,
    peer: Host,
    address: str,
    connect: Callable[[], tuple[bool, str, int]],
) -> ConnectionAttempt:
    result = fact_or_missing(connect)
    if isinstance(result, Missing):
        return ConnectionAttempt(purpose, host.name, peer.name, address, result)
    succeeded, message, port = result
    endpoint = address if purpose is ConnectionPurpose.LIBVIRT else f"{address} port {port}"
    return ConnectionAttempt(purpose, host.name, peer.name, endpoint, succeeded, message)


def _try_addresses(
    host: Host, name: str, connect: Callable[[str], tuple[bool, str, int]]
) -> tuple[bool, str, int]:
    """Try each address of the name until a connection succeeds, as libvirt and QEMU do."""
    for ip_address in network_link.resolve_addresses(host, name):
        result = connect(ip_address)
        if result[0]:
            break
    return result


def _connect_to_port(host: Host, address: str, port: int, probe_context: ProbeContext) -> str:
    connect_command = (
        probe_context.get_payload_path(host),
        "tcp",
        "connect",
        address,
        str(port),
        "--seconds",
        _CONNECT_SECONDS,
    )
    result = host.shell.run_unchecked(*connect_command)
    return (result.stdout or result.stderr).strip()


def read_migration_ports(host: Host) -> range:
    """Read the range of migration ports of the host from qemu.conf, or return libvirt's default."""
    result = host.shell.run_unchecked(
        "grep", "-E", "^ *migration_port_m(in|ax)", "/etc/libvirt/qemu.conf"
    )
    ports = {name: int(port) for name, port in _PORT_SETTING.findall(result.stdout)}
    first_port = ports.get("min", DEFAULT_MIGRATION_PORTS.start)
    return range(first_port, ports.get("max", DEFAULT_MIGRATION_PORTS.stop - 1) + 1)


def _list_probe_ports(peer: Host) -> list[int]:
    """List the migration ports of the peer from which `probe_data_port` selects five ports.

    - If the range has at least ten ports, the result is the upper half of the range, because
      libvirt takes the lowest free port for a migration.
    - If the range has fewer ports, the result contains each port of the range five times. So even
      a range of one port gives five entries.
    """
    ports = list(read_migration_ports(peer))
    return ports[len(ports) // 2 :] if len(ports) >= 2 * _PORT_ATTEMPTS else ports * _PORT_ATTEMPTS


def _translate_nic(nic: Nic, source: Host, destination: Host) -> Nic:
    """Return a copy of the guest interface with the name of the bridge at the destination."""
    if nic.type != "bridge":
        return nic
    bridge = translate_bridge(nic.source or nic.bridge, source.names, destination.names)
    return replace(nic, source=bridge)


def _find_bridge(nic: Nic, host: Host) -> Fact[str]:
    """Find the host's bridge for a guest interface; return `Missing` if no bridge exists."""

    def find_name() -> str:
        if nic.type == "network":
            return libvirt_queries.find_network_bridge(host.libvirt, nic.source)
        if nic.type != "bridge":
            raise HostError(
                host.name,
                f"a guest interface of type {nic.type} has no bridge; preflight can check only "
                "the types network and bridge",
            )
        name = nic.source or nic.bridge
        result = host.shell.run_unchecked("cat", f"/sys/class/net/{name}/operstate")
        if result.status != 0:
            raise HostError(host.name, f"bridge {name} does not exist")
        return name

    return fact_or_missing(find_name)


def _is_frame_received(
    sender: Host,
    sender_bridge: str,
    receiver: Host,
    receiver_bridge: str,
    probe_context: ProbeContext,
) -> bool:
    token = generate_token_name()
    listen_command = (
        probe_context.get_payload_path(receiver),
        "l2",
        "listen",
        receiver_bridge,
        token,
        "--seconds",
        "1",
    )
    with receiver.shell.start(*listen_command) as listener:
        first_line = listener.read_first_line()
        lines = iter(listener)
        if first_line != "ready":
            raise HostError(
                receiver.name, f"cannot receive frames on {receiver_bridge}: {first_line}"
            )
        with sender.shell.start(
            probe_context.get_payload_path(sender), "l2", "send", sender_bridge, token
        ):
            return next(lines, "").strip() == "seen"
