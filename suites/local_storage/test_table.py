"""LM-SHR-01, LM-LOC-01: what `migqual storage` tells of a guest's disks."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from fixtures.plugins.guests import MakeGuest
from fixtures.plugins.hosts import Pair
from migqual.model.guest import DiskFormat, DiskSpec, GuestSpec
from migqual.model.inventory import Inventory, StoreKind
from suites.local_storage.disks import LOCAL

MIGQUAL = Path(sys.executable).with_name("migqual")


@pytest.mark.requirement("LM-SHR-01", "LM-LOC-01")
def test_table_of_disks(make_guest: MakeGuest, inventory: Inventory, pair: Pair) -> None:
    """
    A person sees which disks are shared, and what a copy of the others would take.

    Preconditions: a guest with a local disk and one on each kind of shared store.
    Expected: the place of each, as it is; of the local one also that nothing lies in its way, and
    the room that it needs.
    """
    disks = (LOCAL, DiskSpec(StoreKind.DIRECTORY, DiskFormat.QCOW2), DiskSpec(StoreKind.NBD))
    guest = make_guest(GuestSpec(disks=disks))

    words = ("storage", guest.name, pair.destination.name, "--json", "--write-probes")
    done = subprocess.run(
        [MIGQUAL, *words, "--inventory", str(inventory.file)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert done.returncode == 0, done.stdout + done.stderr
    rows = {row["disk"]: row for row in json.loads(done.stdout)}
    assert [rows[target]["place"] for target in guest.spec.targets()] == [
        *("local", "shared", "remote")
    ]
    assert [rows[target]["copied"] for target in guest.spec.targets()] == ["yes", "no", "no"]
    assert rows["vda"]["destination_has"] == "nothing (writable folder)"
    assert rows["vda"]["room"].startswith("64 of ")
    assert all(row["evidence"] for row in rows.values())
