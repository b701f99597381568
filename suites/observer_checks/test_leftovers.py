"""Leftovers of a test on a host are found."""

from contextlib import ExitStack
from pathlib import PurePosixPath

import pytest

from migqual.hosts.host import Host
from migqual.inventory.entities import Inventory, Tier
from migqual.observe.leftovers import LeftoverAudit
from migqual.testbed.testbed import Testbed

pytestmark = pytest.mark.observer_check

INTERFACE, MAC = "mqleft0", "fe:6d:71:00:00:01"
TABLE = "mq_left"


def test_leftovers_on_a_host_are_found(testbed: Testbed, inventory: Inventory) -> None:
    """
    Objects of every kind that a test leaves on a host are found.

    Preconditions: the source has a file, a folder below /var/lib/libvirt, a control group, a
    process and a mount, each with the prefix of the current run in its name. The source also has an
    nftables table with the prefix `mq_`, and a network interface with a MAC address from the range
    of migqual's guests.
    Expected: each object is found on the source, and none is found on the destination. After the
    removal of the objects, no leftover is found.
    """
    prefix = f"mq-{testbed.provisioner.run_id}-{testbed.provisioner.lane_number}-"
    audit = LeftoverAudit(inventory, prefix)
    host = testbed.source
    file = host.entry.scratch / f"{prefix}left.raw"
    unit = prefix.replace("-", "\\x2d")
    folders = (
        f"/var/lib/libvirt/qemu/domain-99-{prefix}left",
        f"/sys/fs/cgroup/machine-qemu\\x2d99\\x2d{unit}left.scope",
    )
    earlier_leftovers = audit.list_leftovers(testbed.hosts)

    with ExitStack() as stack:
        leave_objects(host, stack, file, folders)
        # The quotes hide the name in the command line of sudo. The process ends at end of input.
        process_script = f'echo up; exec -a "gue""st={prefix}left" cat'
        process = stack.enter_context(host.shell.start("bash", "-c", process_script))
        assert next(iter(process)) == "up\n"
        leftovers = audit.list_leftovers(testbed.hosts) - earlier_leftovers
        process.close_stdin()
        assert list(process) == []

    assert leftovers == {
        f"{host.name}: file {file}",
        *(f"{host.name}: file {folder}" for folder in folders),
        f"{host.name}: mount {folders[0]}",
        f"{host.name}: nftables table inet {TABLE}",
        f"{host.name}: interface with MAC {MAC}",
        *([f"{host.name}: interface {INTERFACE}"] if inventory.tier is Tier.LAB else []),
        f"{host.name}: process guest={prefix}left",
    }
    assert audit.list_leftovers(testbed.hosts) <= earlier_leftovers


def leave_objects(
    host: Host, stack: ExitStack, file: PurePosixPath, folders: tuple[str, ...]
) -> None:
    """Create a file, folders, a mount, an nftables table and a network interface on the host.

    When `stack` closes, the objects are removed.
    """
    objects: tuple[tuple[tuple[str, ...], tuple[str, ...]], ...] = (
        (("touch", "--", str(file)), ("rm", "-f", "--", str(file))),
        *((("mkdir", "--", folder), ("rmdir", "--", folder)) for folder in folders),
        (("mount", "-t", "tmpfs", "none", folders[0]), ("umount", folders[0])),
        (("nft", "add", "table", "inet", TABLE), ("nft", "delete", "table", "inet", TABLE)),
        (("ip", "tuntap", "add", INTERFACE, "mode", "tap"), ("ip", "link", "delete", INTERFACE)),
    )
    for create_command, remove_command in objects:
        stack.callback(host.shell.run, *remove_command)
        host.shell.run(*create_command)
    host.shell.run("ip", "link", "set", INTERFACE, "address", MAC)
