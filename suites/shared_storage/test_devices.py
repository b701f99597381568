"""All devices of the guest work at the destination."""

from typing import Any

import pytest

from migqual.deadline import Deadline
from migqual.hosts.guest import Guest
from migqual.inventory.stores import StoreKind
from migqual.model.guest_spec import DiskBus, DiskFormat, DiskSpec, GuestSpec
from migqual.model.plan import Plan
from migqual.testbed.testbed import Testbed

AGENT_SECONDS = 15.0

MANY_DEVICES = GuestSpec(
    vcpus=2,
    nics=2,
    disks=(
        DiskSpec(StoreKind.DIRECTORY, DiskFormat.QCOW2),
        DiskSpec(StoreKind.NBD, DiskFormat.RAW, bus=DiskBus.SCSI),
        DiskSpec(StoreKind.ISCSI, DiskFormat.RAW),
    ),
)
EXPECTED_COUNTS = {"disk": 3, "nic": 2, "rng": 1, "console": 1, "balloon": 1, "port": 2}


@pytest.mark.requirement("LM-SHR-05")
def test_every_device_works_after_migration(testbed: Testbed) -> None:
    """
    Disks on both buses, NICs, RNG, console, balloon and ports work after the migration.

    Preconditions: every device took input and gave output at the source.
    Expected: the same devices exist at the destination, and each device still works. The guest
    agent answers.
    """
    guest = testbed.make_guest(MANY_DEVICES)
    devices_before = list_working_devices(guest)

    testbed.migrate(guest, Plan(safety=testbed.choose_safety(MANY_DEVICES)))

    assert count_by_kind(devices_before) == EXPECTED_COUNTS
    assert list_working_devices(guest) == devices_before
    guest.wait_for_agent(Deadline(AGENT_SECONDS))


def list_working_devices(guest: Guest) -> set[tuple[str, str]]:
    """List kind and name of every device with working input and output."""
    devices: list[dict[str, Any]] = guest.run_payload_command("devices")["devices"]
    return {(device["kind"], device["name"]) for device in devices if device["ok"]}


def count_by_kind(devices: set[tuple[str, str]]) -> dict[str, int]:
    kinds = [kind for kind, _ in devices]
    return {kind: kinds.count(kind) for kind in set(kinds)}
