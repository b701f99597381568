"""Harm that only a lab's hosts are done, so that preflight has something to find.

Each is a context manager that puts things back; what puts them back is in the journal before the
harm is done. On hosts that are not a lab's nothing is touched: `UnsupportedError`.
"""

import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path, PurePosixPath

from migqual.deadline import Deadline
from migqual.errors import UnsupportedError
from migqual.hosts import ssh_probe
from migqual.hosts.host import Host
from migqual.hosts.provision import Provisioner
from migqual.model.inventory import Host as Entry
from migqual.model.inventory import Tier
from migqual.preflight.facts import Missing
from migqual.preflight.tools import had, token_name

Argv = tuple[str, ...]
_EMULATOR = PurePosixPath("/usr/bin/qemu-system-x86_64")
_SHIM = """\
#!/bin/bash
# a host whose CPU lacks {feature}: no emulated CPU has it either
words=(-global max-x86_64-cpu.{feature}=off)
while (($#)); do
    words+=("$1")
    [[ $1 == -cpu ]] && {{ shift; words+=("$1,{feature}=off"); }}
    shift
done
exec {real} "${{words[@]}}"
"""


@contextmanager
def damaged(
    provision: Provisioner, host: Host, what: str, do: Sequence[Argv], undo: Sequence[Argv]
) -> Iterator[None]:
    """`do`, the block, `undo` in reverse order. Each command of `undo` may find nothing to do."""
    if provision.inventory.tier is not Tier.LAB:
        raise UnsupportedError(f"{what}: done to a lab's hosts only, and {host.name} is none")
    back = tuple(reversed(undo))
    made = provision.journal.record(host.name, "damage", what, back)
    try:
        for argv in do:
            host.shell.run(*argv)
        yield
    finally:
        for argv in back:
            host.shell.attempt(*argv)
        provision.journal.removed(made)


@contextmanager
def rejecting(provision: Provisioner, host: Host, rule: str) -> Iterator[None]:
    """A firewall at `host` that answers with a reset what `rule` (nftables) describes."""
    table = f"mq_{token_name()[-8:]}"
    hook, _, match = rule.partition(" ")
    rules = [
        f"add table inet {table}",
        f"add chain inet {table} c {{ type filter hook {hook} priority 0; }}",
        f"add rule inet {table} c {match} reject with tcp reset",
    ]
    undo = [("nft", f"delete table inet {table}")]
    with damaged(provision, host, f"firewall {table}", [("nft", rule) for rule in rules], undo):
        yield


@contextmanager
def off_the_segment(provision: Provisioner, host: Host) -> Iterator[None]:
    """The service bridge of `host` loses its way to the network."""
    bridge = host.entry.service_bridge
    listed = host.shell.run("ls", f"/sys/class/net/{bridge}/brif").stdout.split()
    port = next(name for name in listed if not name.startswith("vnet"))
    out = [("ip", "link", "set", port, "nomaster")]
    back = [("ip", "link", "set", port, "master", bridge)]
    with damaged(provision, host, f"bridge {bridge}", out, back):
        yield


@contextmanager
def without_bridge(provision: Provisioner, host: Host) -> Iterator[None]:
    """The service bridge of `host` has another name for a while."""
    bridge, other = host.entry.service_bridge, "mq-elsewhere"
    away = [("ip", "link", "set", bridge, "name", other)]
    back = [("ip", "link", "set", other, "name", bridge)]
    with damaged(provision, host, f"name of {bridge}", away, back):
        yield


@contextmanager
def over(provision: Provisioner, host: Host, path: PurePosixPath, text: bytes) -> Iterator[None]:
    """Another file of that name lies over `path`."""
    cover = provision.folder(host) / token_name()
    host.shell.put(text, cover)
    do = [("mount", "--bind", str(cover), str(path))]
    undo = [("rm", "-f", "--", str(cover)), ("umount", str(path))]
    with damaged(provision, host, f"mount over {path}", do, undo):
        yield


@contextmanager
def other_folder(provision: Provisioner, host: Host, image: PurePosixPath) -> Iterator[None]:
    """`host` has a file system of its own at the image's folder, and a like-named image in it."""
    folder = str(image.parent)
    do = [("mount", "-t", "tmpfs", "none", folder), ("truncate", "-s", "1M", str(image))]
    with damaged(provision, host, f"mount over {folder}", do, [("umount", folder)]):
        yield


@contextmanager
def other_cpu(provision: Provisioner, host: Host) -> Iterator[None]:
    """The kernel of `host` tells of a CPU of another make."""
    path = PurePosixPath("/proc/cpuinfo")
    words = host.shell.run("cat", path).stdout
    changed = "\n".join(
        f"{line.partition(':')[0]}: 15" if line.startswith(("model\t", "CPU part")) else line
        for line in words.splitlines()
    )
    with over(provision, host, path, changed.encode()):
        yield


@contextmanager
def cpu_without(provision: Provisioner, host: Host, feature: str) -> Iterator[None]:
    """The hypervisor of `host` has no CPU with `feature`."""
    real = _EMULATOR.with_name(f"{_EMULATOR.name}.{token_name()}")
    shim = provision.folder(host) / token_name()
    host.shell.put(_SHIM.format(feature=feature, real=real).encode(), shim, mode=0o755)
    do = [
        ("cp", str(_EMULATOR), str(real)),
        ("mount", "--bind", str(shim), str(_EMULATOR)),
    ]
    undo = [
        ("rm", "-f", "--", str(shim), str(real)),
        ("umount", str(_EMULATOR)),
    ]
    with damaged(provision, host, f"emulator without {feature}", do, undo):
        yield


@contextmanager
def lenient_ssh(
    provision: Provisioner, host: Host, known_hosts: Path, *settings: str
) -> Iterator[Entry]:
    """A second SSH server on `host` that follows `settings`; yields how to reach it.

    known_hosts   a file to write its host key to
    """
    port = random.randrange(20000, 30000)  # noqa: S311 - nothing secret about it
    pid_file = f"/run/{token_name()}.pid"
    options = [word for setting in (f"PidFile={pid_file}", *settings) for word in ("-o", setting)]
    start = ("/usr/sbin/sshd", "-p", str(port), *options)
    known_hosts.write_text(_with_port(host.entry, port))
    entry = replace(host.entry, port=port, known_hosts=known_hosts)
    with damaged(provision, host, f"sshd {port}", [start], [("pkill", "-F", pid_file)]):
        Deadline(5).wait_for("the SSH server", lambda: _answers(entry))
        yield entry


def _answers(entry: Entry) -> bool:
    return not isinstance(had(lambda: ssh_probe.strangers(entry)), Missing)


def _with_port(entry: Entry, port: int) -> str:
    """The host keys of `entry`, for another port."""
    lines = []
    for line in entry.known_hosts.read_text().splitlines():
        names, _, key = line.partition(" ")
        if entry.address in names.split(","):
            lines.append(f"[{entry.address}]:{port} {key}\n")
    return "".join(lines)
