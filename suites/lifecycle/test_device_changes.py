"""LM-RES-04: changes of devices, vCPUs and memory of a guest that migrates."""

from pathlib import PurePosixPath

import pytest

from fixtures.plugins.operator_commands import RecordCommands
from migqual.hosts.guest import Guest
from migqual.hosts.host import Host
from migqual.inventory.stores import StoreKind
from migqual.model.guest_spec import DiskFormat, DiskSpec, GuestSpec
from migqual.model.migration_phase import MigrationPhase
from migqual.model.plan import Plan
from migqual.testbed.testbed import Testbed, raise_violations
from suites.support.operator_commands import open_command_folder, run_commands_during_migration

GUEST_SPEC = GuestSpec(disks=(DiskSpec(StoreKind.DIRECTORY, DiskFormat.QCOW2),))
RNG_XML = b"""\
<rng model='virtio'><backend model='random'>/dev/urandom</backend></rng>
"""


@pytest.mark.requirement("LM-RES-04")
@pytest.mark.slow
def test_device_changes_are_refused_during_the_migration(
    testbed: Testbed, record_commands: RecordCommands
) -> None:
    """
    libvirt refuses each change of a guest that migrates.

    Preconditions: the migration is in the first iteration over guest memory. An operator gives
    these commands in parallel: attach a disk, a NIC and a random number generator; detach a disk
    and a NIC; set vCPUs, memory, size and limits of a disk, link and limits of a NIC.
    Expected: libvirt refuses every command while the migration is in the first iteration. Then the
    migration completes. The guest is intact, and has the same devices as before.
    """
    guest = testbed.make_guest(GUEST_SPEC)
    plan = Plan(safety=testbed.choose_safety(GUEST_SPEC))
    devices_before = list_devices(guest)

    with open_command_folder(testbed, guest) as folder:
        commands = build_device_commands(guest, testbed.source, folder)
        commanded = run_commands_during_migration(testbed, guest, plan, at_source=commands)

    record_commands(commanded.commands)
    raise_violations(commanded.migration.violations)
    assert commanded.migration.error is None
    assert commanded.phase is MigrationPhase.FIRST_ITERATION
    assert commanded.accepted_commands == []
    assert guest.host is testbed.destination
    assert list_devices(guest) == devices_before


def list_devices(guest: Guest) -> list[tuple[str, str]]:
    """List kind and name of each device that the kernel of the guest sees."""
    devices = guest.run_payload_command("devices")["devices"]
    return sorted((str(device["kind"]), str(device["name"])) for device in devices)


def build_device_commands(
    guest: Guest, source: Host, folder: PurePosixPath
) -> dict[str, tuple[str, ...]]:
    """Build virsh commands that change devices, vCPUs or memory of the guest.

    Also create the files that the commands read: a disk image and an XML file in `folder`.

    Returns:
        The arguments of virsh for each command, by the name of the command.
    """
    name, mac, bridge = guest.name, guest.macs[0], source.names.service_bridge
    source.shell.run("truncate", "--size=1M", folder / "new.img")
    source.shell.upload_file(RNG_XML, folder / "rng.xml")
    return {
        "attach-disk": ("attach-disk", name, f"{folder}/new.img", "vdz", "--live"),
        "detach-disk": ("detach-disk", name, "vda", "--live"),
        "attach-interface": ("attach-interface", name, "bridge", bridge, "--live"),
        "detach-interface": ("detach-interface", name, "bridge", "--mac", mac, "--live"),
        "attach-device": ("attach-device", name, f"{folder}/rng.xml", "--live"),
        "setvcpus": ("setvcpus", name, "1", "--live"),
        "setmem": ("setmem", name, "200M", "--live"),
        "blockresize": ("blockresize", name, "vda", "128M"),
        "blkdeviotune": ("blkdeviotune", name, "vda", "--total-iops-sec", "5000", "--live"),
        "domif-setlink": ("domif-setlink", name, mac, "down"),
        "domiftune": ("domiftune", name, mac, "--inbound", "1000", "--live"),
    }
