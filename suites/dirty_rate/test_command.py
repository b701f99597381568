"""`migqual predict` as a person types it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from fixtures.plugins.guests import MakeGuest
from fixtures.plugins.hosts import Pair
from migqual.hosts import link
from migqual.hosts.region import region
from migqual.model.guest import GuestSpec, Load, MemoryLoad, Pattern
from migqual.model.inventory import Inventory

MIGQUAL = Path(sys.executable).with_name("migqual")
SMALL = GuestSpec(load=Load("witness", memory=MemoryLoad(mib=8)))
BANDWIDTH_MIB_S = 16
DOWNTIME_MS = 250
LINK_MIB_S = 112  # given, so that no link of a lab or of a host decides
FASTER = MemoryLoad(64, 3 * BANDWIDTH_MIB_S, Pattern.SEQUENTIAL, touch="header")


@pytest.mark.requirement("LM-DRT-02")
@pytest.mark.extra
@pytest.mark.long
def test_prediction_stands_on_the_limits_in_force(
    make_guest: MakeGuest, inventory: Inventory, pair: Pair, tmp_path: Path
) -> None:
    """
    A prediction takes the limits that are in force, and says what it assumed and from where.

    Preconditions: bandwidth and downtime of the guest are set through libvirt; then it dirties its
    memory three times as fast as that bandwidth.
    Expected: both limits are told, and the interface that leads to the destination. At rest the
    guest converges (exit code 0), under the load it does not (1) and more bandwidth is said to
    help; with that bandwidth it would converge. What is given comes before what is in force.
    """
    guest = make_guest(SMALL)
    guest.domain.set_bandwidth(BANDWIDTH_MIB_S)
    guest.domain.set_max_downtime(DOWNTIME_MS)

    def predict(*words: str) -> subprocess.CompletedProcess[str]:
        return typed(inventory, tmp_path, guest.name, pair.destination.name, "--json", *words)

    at_rest = predict()
    with region(guest, FASTER):
        held_back = predict("--link", str(LINK_MIB_S))
        free = predict("--link", str(LINK_MIB_S), "--bandwidth", str(LINK_MIB_S))

    assert [done.returncode for done in (at_rest, held_back, free)] == [0, 1, 0], held_back.stderr
    assumed = json.loads(at_rest.stdout)["assumed"]
    assert assumed["bandwidth_mib_s"] == told(BANDWIDTH_MIB_S, "virsh migrate-getspeed")
    assert assumed["downtime_ms"] == told(DOWNTIME_MS, "virsh migrate-getmaxdowntime")
    assert link.interface(pair.source, pair.destination) in assumed["link_mib_s"]["origin"]
    choices = {one["setting"]: one for one in json.loads(held_back.stdout)["choices"]}
    assert choices["bandwidth"]["foretold"]["converges"]
    assumed = json.loads(free.stdout)["assumed"]
    assert assumed["link_mib_s"] == told(LINK_MIB_S, "--link")
    assert assumed["bandwidth_mib_s"] == told(LINK_MIB_S, "--bandwidth")


def told(value: float, origin: str) -> dict[str, object]:
    return {"value": value, "origin": origin}


def typed(inventory: Inventory, state: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """`migqual predict`, with a journal of the test's own."""
    return subprocess.run(
        [MIGQUAL, "predict", "--inventory", str(inventory.file), *words],
        env=os.environ | {"MIGQUAL_STATE": str(state)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
