"""Faults injected into the hosts of a lab: problems for preflight to find.

Each fault is a context manager, and the end of the `with` block undoes the change. The undo
commands are in the journal before the change is made. Each context manager checks that the fault
is in force; a fault without effect makes the test inconclusive. Outside a lab nothing is changed,
and the test is withheld: `WithheldError`.
"""

import random
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path, PurePosixPath

from migqual.deadline import Deadline
from migqual.errors import InconclusiveError, WithheldError
from migqual.faults.injection import inject_commands
from migqual.hosts import ssh_probe
from migqual.hosts.host import Host
from migqual.hosts.pid_file import build_stop_command
from migqual.hosts.provision import Provisioner
from migqual.inventory.entities import HostEntry, Tier
from migqual.probes.fact import Missing, fact_or_missing
from migqual.probes.probe_context import generate_token_name

Argv = tuple[str, ...]
_QEMU_WRAPPER = """\
#!/bin/bash
# a host whose CPU lacks {feature}: no emulated CPU has it either
echo used >> {marker}
words=(-global max-x86_64-cpu.{feature}=off)
while (($#)); do
    words+=("$1")
    [[ $1 == -cpu ]] && {{ shift; words+=("$1,{feature}=off"); }}
    shift
done
exec {real} "${{words[@]}}"
"""


@contextmanager
def inject_fault(
    provisioner: Provisioner,
    host: Host,
    description: str,
    commands: Sequence[Argv],
    undo_commands: Sequence[Argv],
    is_in_force: Callable[[], bool],
) -> Iterator[None]:
    """Run `commands`, then the `with` block, and then `undo_commands` in reverse order.

    All undo commands run, even if a change was not made or is already undone. The function ignores
    the exit status of an undo command.

    Raises:
        InconclusiveError: `is_in_force` returns False after `commands`.
        WithheldError: The host is not a lab host, so the fault could harm other users.
    """
    if provisioner.inventory.tier is not Tier.LAB:
        raise WithheldError(
            f"{description}: this fault is injected only on lab hosts, "
            f"and {host.name} is not a lab host"
        )
    with inject_commands(
        provisioner.journal, host, description, commands, undo_commands, is_in_force
    ):
        yield


def build_address_match(field: str, address: str) -> str:
    """Build an nftables match of an IPv4 or IPv6 address, for example `ip saddr 10.0.0.1`.

    `field` is `saddr` for the source address, or `daddr` for the destination address.
    """
    return f"{'ip6' if ':' in address else 'ip'} {field} {address}"


@contextmanager
def inject_tcp_reset(provisioner: Provisioner, host: Host, rule: str) -> Iterator[None]:
    """Reject traffic at `host` with a TCP reset, by a firewall table of nftables.

    `rule` begins with the hook and continues with the match, e.g. `input tcp dport 22`.

    Raises:
        InconclusiveError: No packet matched the rule while the `with` block ran.
    """
    table = f"mq_{generate_token_name()[-8:]}"
    hook, _, match = rule.partition(" ")
    rules = [
        f"add table inet {table}",
        f"add chain inet {table} c {{ type filter hook {hook} priority 0; }}",
        f"add rule inet {table} c {match} counter reject with tcp reset",
    ]
    undo_commands = [("nft", f"delete table inet {table}")]

    def count_rejected_packets() -> int | None:
        listing = host.shell.run_unchecked("nft", "list", "table", "inet", table).stdout
        counter = re.search(r"counter packets (\d+)", listing)
        return None if counter is None else int(counter[1])

    with inject_fault(
        provisioner,
        host,
        f"firewall {table}",
        [("nft", rule) for rule in rules],
        undo_commands,
        lambda: count_rejected_packets() is not None,
    ):
        yield
        if not count_rejected_packets():
            raise InconclusiveError(f"{host.name}: no packet matched the firewall rule {rule}")


@contextmanager
def inject_bridge_disconnect(provisioner: Provisioner, host: Host) -> Iterator[None]:
    """Disconnect the service bridge of `host` from the service network: remove the uplink."""
    bridge = host.entry.service_bridge
    port = next(name for name in list_bridge_ports(host) if not name.startswith("vnet"))
    detach_commands: list[Argv]
    attach_commands: list[Argv]
    if host.has_ovs_bridge:
        detach_commands = [("ovs-vsctl", "del-port", bridge, port)]
        attach_commands = [("ovs-vsctl", "--may-exist", "add-port", bridge, port)]
    else:
        detach_commands = [("ip", "link", "set", port, "nomaster")]
        attach_commands = [("ip", "link", "set", port, "master", bridge)]

    def is_detached() -> bool:
        return port not in list_bridge_ports(host)

    with inject_fault(
        provisioner, host, f"bridge {bridge}", detach_commands, attach_commands, is_detached
    ):
        yield


def list_bridge_ports(host: Host) -> list[str]:
    """List the ports of the service bridge of `host`, the bridge that the guests use."""
    bridge = host.entry.service_bridge
    if host.has_ovs_bridge:
        return host.shell.run("ovs-vsctl", "list-ports", bridge).stdout.split()
    return host.shell.run("ls", f"/sys/class/net/{bridge}/brif").stdout.split()


@contextmanager
def inject_missing_bridge(provisioner: Provisioner, host: Host) -> Iterator[None]:
    """Rename the service bridge of `host` while the `with` block runs."""
    bridge, temporary_name = host.entry.service_bridge, "mq-elsewhere"
    rename_commands = [("ip", "link", "set", bridge, "name", temporary_name)]
    restore_commands = [("ip", "link", "set", temporary_name, "name", bridge)]

    def is_missing() -> bool:
        return host.shell.run_unchecked("test", "-e", f"/sys/class/net/{bridge}").status != 0

    with inject_fault(
        provisioner, host, f"name of {bridge}", rename_commands, restore_commands, is_missing
    ):
        yield


@contextmanager
def inject_file_over(
    provisioner: Provisioner, host: Host, path: PurePosixPath, content: bytes
) -> Iterator[None]:
    """Mount another file with `content` over `path`."""
    cover_file = provisioner.get_run_folder(host) / generate_token_name()
    host.shell.upload_file(content, cover_file)
    commands = [("mount", "--bind", str(cover_file), str(path))]
    undo_commands = [("rm", "-f", "--", str(cover_file)), ("umount", str(path))]

    def is_covered() -> bool:
        return host.shell.run("cat", path).stdout == content.decode()

    with inject_fault(provisioner, host, f"mount over {path}", commands, undo_commands, is_covered):
        yield


@contextmanager
def inject_unshared_folder(
    provisioner: Provisioner, host: Host, image: PurePosixPath
) -> Iterator[None]:
    """Mount a tmpfs over the folder of `image` at `host`, with an image of the same name."""
    folder = str(image.parent)
    commands = [("mount", "-t", "tmpfs", "none", folder), ("truncate", "-s", "1M", str(image))]

    def is_covered() -> bool:
        return host.shell.run("stat", "-f", "-c", "%T", folder).stdout.strip() == "tmpfs"

    with inject_fault(
        provisioner, host, f"mount over {folder}", commands, [("umount", folder)], is_covered
    ):
        yield


@contextmanager
def inject_cpu_mismatch(provisioner: Provisioner, host: Host) -> Iterator[None]:
    """Change /proc/cpuinfo of `host`, so that the kernel reports a CPU of another model."""
    path = PurePosixPath("/proc/cpuinfo")
    cpuinfo = host.shell.run("cat", path).stdout
    changed_cpuinfo = "\n".join(
        f"{line.partition(':')[0]}: 15" if line.startswith(("model\t", "CPU part")) else line
        for line in cpuinfo.splitlines()
    )
    with inject_file_over(provisioner, host, path, changed_cpuinfo.encode()):
        yield


@contextmanager
def inject_missing_cpu_feature(
    provisioner: Provisioner, host: Host, feature: str
) -> Iterator[None]:
    """Mount a wrapper script over the QEMU binary of `host`, so that no CPU model has `feature`.

    Raises:
        InconclusiveError: libvirt did not start the wrapper script while the `with` block ran.
    """
    emulator = PurePosixPath(host.shell.run("readlink", "-f", host.names.emulator).stdout.strip())
    real_emulator = emulator.with_name(f"{emulator.name}.{generate_token_name()}")
    wrapper = provisioner.get_run_folder(host) / generate_token_name()
    marker = PurePosixPath(f"{wrapper}.used")
    script = _QEMU_WRAPPER.format(feature=feature, real=real_emulator, marker=marker)
    host.shell.upload_file(script.encode(), wrapper, mode=0o755)
    host.shell.upload_file(b"", marker, mode=0o666)
    commands = [
        ("cp", str(emulator), str(real_emulator)),
        ("mount", "--bind", str(wrapper), str(emulator)),
    ]
    undo_commands = [
        ("rm", "-f", "--", str(wrapper), str(real_emulator), str(marker)),
        ("umount", str(emulator)),
    ]

    def is_wrapped() -> bool:
        return host.shell.run("head", "-c", "2", emulator).stdout == "#!"

    description = f"emulator without {feature}"
    with inject_fault(provisioner, host, description, commands, undo_commands, is_wrapped):
        yield
        if not host.shell.run("cat", marker).stdout:
            raise InconclusiveError(
                f"{host.name}: libvirt did not start the wrapper script at {emulator} that hides "
                f"the CPU feature {feature}, so the fault had no effect"
            )


@contextmanager
def inject_permissive_sshd(
    provisioner: Provisioner, host: Host, known_hosts: Path, *settings: str
) -> Iterator[HostEntry]:
    """Start a second SSH server with `settings` on `host`; yield a host entry for the server.

    `known_hosts` is the file for the host key of the server.
    """
    port = random.randrange(20000, 30000)  # noqa: S311 - nothing secret about it
    pid_file = f"/run/{generate_token_name()}.pid"
    options = [
        argument for setting in (f"PidFile={pid_file}", *settings) for argument in ("-o", setting)
    ]
    start_command = ("/usr/sbin/sshd", "-p", str(port), *options)
    known_hosts.write_text(_render_known_hosts(host.entry, port))
    entry = replace(host.entry, port=port, known_hosts=known_hosts)

    def is_answering() -> bool:
        Deadline(5).wait_for("the second SSH server to answer", lambda: _is_answering(entry))
        return True

    with inject_fault(
        provisioner,
        host,
        f"sshd {port}",
        [start_command],
        [build_stop_command(pid_file)],
        is_answering,
    ):
        yield entry


def _is_answering(entry: HostEntry) -> bool:
    return not isinstance(fact_or_missing(lambda: ssh_probe.probe_auth_methods(entry)), Missing)


def _render_known_hosts(entry: HostEntry, port: int) -> str:
    """Render the host keys of `entry` for another port."""
    server = entry.address if entry.port == 22 else f"[{entry.address}]:{entry.port}"
    lines = []
    for line in entry.known_hosts.read_text().splitlines():
        names, _, key = line.partition(" ")
        if server in names.split(","):
            lines.append(f"[{entry.address}]:{port} {key}\n")
    return "".join(lines)
