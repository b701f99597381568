"""What really crosses the link between two hosts: the kernel's own counter."""

from pathlib import PurePosixPath

from migqual.errors import HostError
from migqual.hosts.host import Host

_NET = PurePosixPath("/sys/class/net")


def interface(host: Host, towards: Host) -> str:
    """The interface of `host` through which it reaches the migration address of `towards`."""
    address = towards.entry.migration_address or towards.entry.address
    # "10.77.2.12 dev mig src 10.77.2.11 uid 0", with "via ADDRESS" before a gateway
    words = host.shell.run("ip", "-o", "route", "get", address).stdout.split()
    if "dev" not in words:
        raise HostError(host.name, f"no way to {address}: {' '.join(words)}")
    return words[words.index("dev") + 1]


def sent_bytes(host: Host, towards: Host) -> int:
    """Bytes that `host` has ever sent through that interface."""
    path = _NET / interface(host, towards) / "statistics" / "tx_bytes"
    return int(host.shell.run("cat", path).stdout)
