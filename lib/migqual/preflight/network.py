"""Connections between the hosts, tried out: ports both ways, libvirt, service bridges."""

import random
from collections.abc import Callable, Iterator
from ipaddress import IPv4Address
from urllib.parse import urlsplit

from migqual.errors import HostError
from migqual.hosts import questions
from migqual.hosts.host import Host
from migqual.preflight.definition import Nic
from migqual.preflight.facts import Channel, Fact, Missing, Reach, Segment
from migqual.preflight.tools import Tools, had, token_name

# Where libvirt lets QEMU listen unless qemu.conf says otherwise.
MIGRATION_PORTS = range(49152, 49216)
_PORTS = {"ssh": 22, "libssh": 22, "libssh2": 22, "tls": 16514, "tcp": 16509}
_TRIES = 5
_SECONDS = "2"


def data(origin: Host, target: Host, tools: Tools) -> Reach:
    """A connection to a free port of the target's migration range, and its answer back."""
    address = target.entry.migration_address or target.entry.address

    def passes() -> tuple[bool, str, int]:
        where = _ipv4(origin, address)
        for port in random.sample(_migration_ports(target), _TRIES):
            argv = (tools.payload(target), "tcp", "listen", where, str(port), "--seconds", "3")
            with target.shell.start(*argv) as listener:
                first = next(iter(listener), "").strip()
                if first.startswith("ready"):
                    words = _connect(origin, where, port, tools)
                    return words == "passed", words, port
        raise HostError(target.name, f"cannot listen on {where}: {first}")

    return _reach(Channel.DATA, origin, target, address, passes)


def control(origin: Host, target: Host, tools: Tools) -> Iterator[Reach]:
    """The port of libvirt's URI; then libvirt itself, as a peer-to-peer migration connects."""
    uri = target.entry.peer_uri
    parts = urlsplit(uri)
    transport = parts.scheme.partition("+")[2] or "tls"
    port = parts.port or _PORTS.get(transport, 0)
    name = parts.hostname or target.entry.address

    def passes() -> tuple[bool, str, int]:
        words = _connect(origin, _ipv4(origin, name), port, tools)
        # a server of another protocol takes the connection, and does not return our token
        taken = words.startswith(("passed", "connected"))
        return taken, "passed" if taken else words, port

    first = _reach(Channel.CONTROL, origin, target, name, passes)
    yield first

    def answers() -> tuple[bool, str, int]:
        if first.passed is False:
            return False, f"port {port} cannot be reached", port
        done = origin.shell.attempt("virsh", "-c", uri, "hostname", seconds=30)
        if done.status in {126, 127}:
            raise HostError(origin.name, "virsh is not installed")
        return done.status == 0, " ".join(done.stderr.split()), port

    yield _reach(Channel.LIBVIRT, origin, target, uri, answers)


def segment(nic: Nic, source: Host, destination: Host, tools: Tools) -> Segment:
    """Whether frames pass between the bridges of a service interface, in both directions."""
    here = _bridge(nic, source)
    there = _bridge(nic, destination)
    passed: Fact[bool]
    if isinstance(here, Missing):
        passed = here
    elif isinstance(there, Missing):
        passed = False
    else:
        passed = had(
            lambda: (
                _frames(source, here, destination, there, tools)
                and _frames(destination, there, source, here, tools)
            )
        )
    return Segment(nic, here, there, passed)


def _reach(
    channel: Channel,
    origin: Host,
    target: Host,
    place: str,
    passes: Callable[[], tuple[bool, str, int]],
) -> Reach:
    found = had(passes)
    if isinstance(found, Missing):
        return Reach(channel, origin.name, target.name, place, found)
    passed, words, port = found
    where = place if channel is Channel.LIBVIRT else f"{place} port {port}"
    return Reach(channel, origin.name, target.name, where, passed, words)


def _connect(origin: Host, address: str, port: int, tools: Tools) -> str:
    argv = (tools.payload(origin), "tcp", "connect", address, str(port), "--seconds", _SECONDS)
    done = origin.shell.attempt(*argv)
    return (done.stdout or done.stderr).strip()


def _migration_ports(target: Host) -> list[int]:
    """The range of qemu.conf, or libvirt's own."""
    done = target.shell.attempt(
        "grep", "-E", "^ *migration_port_m(in|ax)", "/etc/libvirt/qemu.conf"
    )
    found = {}
    for line in done.stdout.splitlines():
        name, _, value = line.partition("=")
        found[name.strip()] = int(value.strip().strip('"'))
    low = found.get("migration_port_min", MIGRATION_PORTS.start)
    high = found.get("migration_port_max", MIGRATION_PORTS.stop - 1)
    # libvirt takes the lowest free one: stay clear of migrations that run
    ports = list(range(low, high + 1))
    return ports[len(ports) // 2 :] if len(ports) >= 2 * _TRIES else ports * _TRIES


def _ipv4(origin: Host, name: str) -> str:
    """The address that `origin` takes for `name`. Raises `HostError`."""
    try:
        return str(IPv4Address(name))
    except ValueError:
        words = origin.shell.attempt("getent", "ahostsv4", name).stdout.split()
    if not words:
        raise HostError(origin.name, f"{name} has no IPv4 address here, and others are not probed")
    return words[0]


def _bridge(nic: Nic, host: Host) -> Fact[str]:
    """The bridge that the interface joins on `host`."""

    def find() -> str:
        if nic.type == "network":
            return questions.bridge_of_network(host.libvirt, nic.source)
        if nic.type != "bridge":
            raise HostError(host.name, f"an interface of type {nic.type} joins no bridge")
        name = nic.source or nic.bridge
        done = host.shell.attempt("cat", f"/sys/class/net/{name}/operstate")
        if done.status != 0:
            raise HostError(host.name, f"no bridge {name}")
        return name

    return had(find)


def _frames(sender: Host, out: str, receiver: Host, into: str, tools: Tools) -> bool:
    token = token_name()
    listen = (tools.payload(receiver), "l2", "listen", into, token, "--seconds", "1")
    with receiver.shell.start(*listen) as listener:
        lines = iter(listener)
        first = next(lines, "").strip()
        if first != "ready":
            raise HostError(receiver.name, f"cannot listen on {into}: {first}")
        with sender.shell.start(tools.payload(sender), "l2", "send", out, token):
            return next(lines, "").strip() == "seen"
