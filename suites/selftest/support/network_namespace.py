"""Network namespaces of a guest and a client, with a link between the two, for payload tests."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

GUEST_MAC = "02:00:00:00:00:01"
CLIENT_ADDRESSES = ("10.77.9.1/24", "fd77::1/64")
GUEST_ADDRESSES = ("10.77.9.2/24", "fd77::2/64")
# The namespace has files in /sys only for network interfaces, and a console without effect.
_HOLD_SCRIPT = """\
mount -t sysfs sysfs /sys && mount -t tmpfs tmpfs /sys/block && mount -t tmpfs tmpfs /sys/bus &&
mount --bind /dev/null /dev/console && ip link set lo up && echo ready && exec cat
"""


@dataclass(frozen=True)
class NetworkNamespace:
    """A network namespace and a mount namespace, which exist while the process `pid` runs."""

    pid: int

    @property
    def launcher(self) -> tuple[str, ...]:
        """Return the prefix with `nsenter` that makes a command run in this namespace."""
        return ("nsenter", f"--target={self.pid}", "--net", "--mount", "--")

    def run(self, *argv: str) -> str:
        """Run a command in the namespace; return the standard output."""
        return subprocess.run(
            [*self.launcher, *argv], stdout=subprocess.PIPE, text=True, timeout=60, check=True
        ).stdout

    def add_address(self, address: str, interface: str) -> None:
        """Add an IP address to an interface of this namespace.

        The address is usable at once: the kernel does not search for duplicates of an IPv6 address.
        """
        flags = ["nodad"] if ":" in address else []
        self.run("ip", "address", "add", address, "dev", interface, *flags)


@dataclass(frozen=True)
class LinkedNamespaces:
    """The network namespaces of a guest and a client, with a link between the two.

    The interface in the guest's namespace has the name `guest`. The interface in the client's
    namespace has the name `client`.
    """

    guest: NetworkNamespace
    client: NetworkNamespace


@contextmanager
def create_linked_namespaces() -> Iterator[LinkedNamespaces]:
    """Create the namespaces of a guest and a client, with a link, during the `with` block.

    The client's interface gets IP addresses. The guest's interface has no IP address.
    """
    with _hold_namespace() as guest, _hold_namespace() as client:
        guest.run(
            *("ip", "link", "add", "guest", "address", GUEST_MAC),
            *("type", "veth", "peer", "name", "client", "netns", str(client.pid)),
        )
        for address in CLIENT_ADDRESSES:
            client.add_address(address, "client")
        client.run("ip", "link", "set", "client", "up")
        yield LinkedNamespaces(guest, client)


@contextmanager
def _hold_namespace() -> Iterator[NetworkNamespace]:
    with subprocess.Popen(
        ["unshare", "--net", "--mount", "sh", "-c", _HOLD_SCRIPT],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        try:
            yield NetworkNamespace(process.pid)
        finally:
            process.kill()
