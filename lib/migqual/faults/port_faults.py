"""Take TCP ports of a host, as another program would."""

from collections.abc import Iterator
from contextlib import contextmanager

from migqual.errors import HostError
from migqual.faults.injection import require_exclusive_hosts
from migqual.hosts.host import Host


@contextmanager
def take_ports(payload_path: str, host: Host, ports: range) -> Iterator[int]:
    """Listen on each free port of a range during the block, on all IPv4 and IPv6 addresses.

    The program that listens ends when the SSH channel closes, also if migqual is killed.

    Args:
        payload_path: Path of migqual's program on the host.
        host: The host.
        ports: The ports.

    Yields:
        The number of ports that the program took. Ports already in use are not counted.

    Raises:
        HostError: The program does not start.
        WithheldError: The host may have other users, whose migrations need the ports.
    """
    require_exclusive_hosts("taken ports", host)
    command = (
        *(payload_path, "occupy", "::"),
        *(str(ports[0]), str(ports[-1])),
    )
    with host.shell.start(*command) as process:
        word, _, count = process.read_first_line().partition(" ")
        if word != "ready":
            raise HostError(host.name, f"migqual's program took no port: {word} {count}".strip())
        yield int(count)
        process.close_stdin()
