"""LM-SHR-01, LM-LOC-01: the output of `migqual storage` for the disks of a guest."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from migqual.inventory.entities import Inventory
from migqual.inventory.stores import StoreKind
from migqual.model.guest_spec import DiskFormat, DiskSpec, GuestSpec
from migqual.testbed.testbed import Testbed
from suites.support.disks import LOCAL_DISK

MIGQUAL = Path(sys.executable).with_name("migqual")


@pytest.mark.requirement("LM-SHR-01", "LM-LOC-01")
def test_storage_command_lists_disks(testbed: Testbed, inventory: Inventory) -> None:
    """
    `migqual storage` shows the location of each disk, and what a copy of a local disk needs.

    Preconditions: a guest with a local disk, a disk on a shared directory, and an NBD disk.
    Expected: the output shows the correct location of each disk. For the local disk, the output
    says that the destination has no image yet, that the folder is writable, and how much space
    the copy needs.
    """
    disks = (LOCAL_DISK, DiskSpec(StoreKind.DIRECTORY, DiskFormat.QCOW2), DiskSpec(StoreKind.NBD))
    guest = testbed.make_guest(GuestSpec(disks=disks))

    arguments = ("storage", guest.name, testbed.destination.name, "--json", "--write-probes")
    result = subprocess.run(
        [MIGQUAL, *arguments, "--inventory", str(inventory.file)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert result.returncode == 0, result.stdout + result.stderr
    rows = {row["disk"]: row for row in json.loads(result.stdout)}
    assert [rows[target]["location"] for target in guest.spec.list_disk_targets()] == [
        *("local", "shared", "remote")
    ]
    assert [rows[target]["copied"] for target in guest.spec.list_disk_targets()] == [
        "yes",
        "no",
        "no",
    ]
    assert rows["vda"]["destination_has"] == "no image (writable folder)"
    assert rows["vda"]["needed_space"].startswith("64 MiB (")
    assert all(row["evidence"] for row in rows.values())
