"""The command `migqual predict`, called as a user calls the command."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from migqual.hosts import network_link
from migqual.hosts.memory_region import memory_region
from migqual.inventory.entities import Inventory
from migqual.model.guest_spec import GuestLoad, GuestSpec, MemoryLoad, WritePattern, WrittenPart
from migqual.testbed.testbed import Testbed

MIGQUAL = Path(sys.executable).with_name("migqual")
SMALL_GUEST = GuestSpec(load=GuestLoad("small-memory", memory=MemoryLoad(size_mib=8)))
BANDWIDTH_MIB_S = 16
DOWNTIME_MS = 250
LINK_MIB_S = 112  # given to the command, so that the speed of the real link has no effect
FAST_DIRTYING_LOAD = MemoryLoad(
    64, 3 * BANDWIDTH_MIB_S, WritePattern.SEQUENTIAL, written_part=WrittenPart.HEADER
)


@pytest.mark.requirement("LM-DRT-02")
@pytest.mark.beyond_requirement
@pytest.mark.slow
def test_predict_command_uses_limits_in_force(
    testbed: Testbed, inventory: Inventory, tmp_path: Path
) -> None:
    """
    A prediction uses the limits in force, and names the origin of each assumption.

    Preconditions: the limits of bandwidth and downtime are set through libvirt. The command runs
    three times: for the idle guest, for the guest under a load, and under this load with the
    option `--bandwidth 112`. The load dirties memory three times as fast as the bandwidth limit.
    Expected: the first output names both limits, and the interface to the destination, and
    predicts convergence (exit code 0). The second output predicts no convergence (exit code 1),
    and recommends a bandwidth with which the guest converges. In the third run, the option
    overrides the limit in force, and the output predicts convergence (exit code 0).
    """
    guest = testbed.make_guest(SMALL_GUEST)
    guest.domain.set_bandwidth(BANDWIDTH_MIB_S)
    guest.domain.set_max_downtime(DOWNTIME_MS)

    def run_predict(*options: str) -> subprocess.CompletedProcess[str]:
        return run_predict_command(
            inventory, tmp_path, guest.name, testbed.destination.name, "--json", *options
        )

    idle_result = run_predict()
    with memory_region(guest, FAST_DIRTYING_LOAD):
        limited_result = run_predict("--link", str(LINK_MIB_S))
        unlimited_result = run_predict("--link", str(LINK_MIB_S), "--bandwidth", str(LINK_MIB_S))

    assert [result.returncode for result in (idle_result, limited_result, unlimited_result)] == [
        0,
        1,
        0,
    ], limited_result.stderr
    inputs = json.loads(idle_result.stdout)["assumed"]
    assert inputs["bandwidth_mib_s"] == make_sourced_value(
        BANDWIDTH_MIB_S, "virsh migrate-getspeed"
    )
    assert inputs["downtime_ms"] == make_sourced_value(DOWNTIME_MS, "virsh migrate-getmaxdowntime")
    assert (
        network_link.find_migration_interface(testbed.source, testbed.destination)
        in inputs["link_mib_s"]["origin"]
    )
    choices = {choice["setting"]: choice for choice in json.loads(limited_result.stdout)["choices"]}
    assert choices["bandwidth"]["prediction"]["converges"]
    inputs = json.loads(unlimited_result.stdout)["assumed"]
    assert inputs["link_mib_s"] == make_sourced_value(LINK_MIB_S, "--link")
    assert inputs["bandwidth_mib_s"] == make_sourced_value(LINK_MIB_S, "--bandwidth")


def make_sourced_value(value: float, origin: str) -> dict[str, object]:
    return {"value": value, "origin": origin}


def run_predict_command(
    inventory: Inventory, state_folder: Path, *arguments: str
) -> subprocess.CompletedProcess[str]:
    """Run `migqual predict` with a separate journal for the test."""
    return subprocess.run(
        [MIGQUAL, "predict", "--inventory", str(inventory.file), *arguments],
        env=os.environ | {"MIGQUAL_STATE": str(state_folder)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
