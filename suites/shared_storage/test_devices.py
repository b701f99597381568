"""All of the guest works at the destination, devices included."""

from collections.abc import Callable
from typing import Any

import pytest

from fixtures.plugins.guests import MakeGuest
from migqual.deadline import Deadline
from migqual.hosts.guest import Guest
from migqual.model.guest import DiskBus, DiskFormat, DiskSpec, GuestSpec
from migqual.model.inventory import StoreKind
from migqual.model.outcome import Outcome
from migqual.model.plan import Plan, Safety

Migrate = Callable[..., Outcome]
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
EXPECTED = {"disk": 3, "nic": 2, "rng": 1, "console": 1, "balloon": 1, "port": 2}


@pytest.mark.requirement("LM-SHR-05")
def test_every_device_works_after_the_move(make_guest: MakeGuest, migrate: Migrate) -> None:
    """
    Disks on both buses, network cards, random source, console, balloon and ports all work.

    Preconditions: every device took input and gave output at the source.
    Expected: the same devices are there at the destination, and each still does; the guest agent
    answers.
    """
    guest = make_guest(MANY_DEVICES)
    before = working(guest)

    migrate(guest, Plan(safety=Safety.UNSAFE))

    assert count(before) == EXPECTED
    assert working(guest) == before
    guest.wait_ready(Deadline(AGENT_SECONDS))


def working(guest: Guest) -> set[tuple[str, str]]:
    """Kind and name of every device on which input and output worked just now."""
    devices: list[dict[str, Any]] = guest.payload("devices")["devices"]
    return {(device["kind"], device["name"]) for device in devices if device["ok"]}


def count(devices: set[tuple[str, str]]) -> dict[str, int]:
    kinds = [kind for kind, _ in devices]
    return {kind: kinds.count(kind) for kind in set(kinds)}
