"""`migqual sweep` restores the hosts after a run was killed, also while a fault is in force.

The tests build a lab, so run them directly on the machine, as root:
`.venv/bin/pytest suites/integration/test_killed_runs.py`.
"""

import os
import random
import shlex
import signal
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from migqual import paths
from migqual.deadline import Deadline
from migqual.errors import LabError
from migqual.hosts import journal
from migqual.lab import foreign_objects, lifecycle, state
from migqual.lab.layout import LabLayout
from migqual.lab.local_command import run_local_command
from migqual.lab.quirks import ROOT_USER
from migqual.lab.topology import LabRole

# The tests run one after another, and not beside those of test_lab_lifecycle.py, which compare all
# processes of the machine.
pytestmark = [pytest.mark.observer_check, pytest.mark.xdist_group("lab-lifecycle")]

MIGQUAL = (sys.executable, "-m", "migqual.cli")
MOMENTS = 20
QUICK_MOMENTS = 1
CHAPTERS = ("suites/faults", "suites/abort", "suites/lifecycle")
START_SECONDS = 60.0
KILL_RANGE_SECONDS = (3.0, 40.0)  # after the first object on a host
SWEEP_SECONDS = 300
# Everything on a host that the tests in CHAPTERS change. Logs, process ids, and migqual's cache
# (saved states of guests) are left out.
SNAPSHOT_SCRIPT = r"""
echo "== domains"
timeout 20 virsh -c qemu:///system list --all | tail -n +3 | awk '{print $2, $3, $4}'
echo "== firewall"; nft list ruleset
echo "== mounts"; findmnt -rn -o TARGET,SOURCE,FSTYPE | sed 's/\[.*deleted\]//' | sort
echo "== interfaces"; ls /sys/class/net
echo "== addresses"; ip -br addr
echo "== frozen or left processes"
ps -eo stat=,args= | awk '$1 ~ /^T/ || /mq-[0-9a-f]/ && !/awk/ {print}'
echo "== settings"; find /etc/libvirt /etc/pki -type f -exec sha256sum {} + | sort
echo "== failed units"; systemctl list-units --failed --plain --no-legend | awk '{print $1}'
echo "== files"
find /srv /etc /var/lib/libvirt /var/lib/migqual -path '*/states*' -prune -o \
    \( -type f -o -type l \) -printf '%p %m %U %G %l %s\n' | sort
"""


@pytest.fixture(scope="module")
def lab() -> Iterator[LabLayout]:
    """Yield a lab with the topology `default`, and remove the lab after the tests.

    One host of the lab has a foreign guest, which is a guest that does not belong to migqual.
    """
    name = f"t{uuid.uuid4().hex[:8]}"
    try:
        run_local_command([*MIGQUAL, "lab", "up", "--name", name, "--topology", "default"])
        layout = state.read_lab_state(name)[1]
        foreign_objects.wait_for_foreign_guests(layout)
        yield layout
    finally:
        lifecycle.remove_lab(name)


@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    "moment",
    [
        pytest.param(moment, marks=[] if moment < QUICK_MOMENTS else [pytest.mark.slow])
        for moment in range(MOMENTS)
    ],
)
def test_sweep_restores_the_hosts_after_a_killed_run(
    moment: int, lab: LabLayout, tmp_path: Path
) -> None:
    """
    After the kill of a run, `migqual sweep` leaves the hosts exactly as they were before the run.

    Preconditions: two pytest workers run the tests about faults, aborts and the life cycle of
    guests, in random order, on two pairs. All processes of the run get SIGKILL at a random moment.
    Expected: the sweep succeeds. Domains, firewall, mounts, interfaces, processes and files of all
    hosts are as before. The foreign guest and the foreign files, which do not belong to migqual,
    are unchanged.
    """
    chance = random.Random(moment)  # noqa: S311 - a repeatable choice
    files = sorted(
        file for chapter in CHAPTERS for file in (paths.ROOT / chapter).glob("test_*.py")
    )
    chance.shuffle(files)
    environment = {**os.environ, "MIGQUAL_STATE": str(tmp_path / "state")}
    foreign_before = foreign_objects.read_foreign_objects(lab)
    hosts_before = take_snapshots(lab)

    kill_run(lab, files, tmp_path, environment, chance.uniform(*KILL_RANGE_SECONDS))
    open_entries = list_open_entries(tmp_path / "state")
    left_by_the_run = list_changes(hosts_before, take_snapshots(lab, may_be_off=True))
    sweep = subprocess.run(
        [*MIGQUAL, "sweep"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=SWEEP_SECONDS,
        check=False,
    )

    assert open_entries != []
    assert left_by_the_run != []  # the snapshots can see what a run leaves
    assert sweep.returncode == 0, sweep.stdout + sweep.stderr
    assert list_changes(hosts_before, take_snapshots(lab)) == []
    assert foreign_objects.read_foreign_objects(lab) == foreign_before
    assert list((tmp_path / "state" / "journal").iterdir()) == []


def kill_run(
    lab: LabLayout, files: list[Path], folder: Path, environment: dict[str, str], seconds: float
) -> None:
    """Run the test files on the lab, and kill all processes of the run.

    Args:
        lab: The lab.
        files: The test files, in this order.
        folder: Folder for the reports and the state of the run.
        environment: Environment variables of the run.
        seconds: Time from the first entry in the journal of the run to the kill.
    """
    pytest_command = [
        *(sys.executable, "-m", "pytest", "-q", "-n", "2", "--dist", "loadgroup"),
        *("--inventory", str(lab.inventory_file), "--report-dir", str(folder / "reports")),
        *map(str, files),
    ]
    with (folder / "output.txt").open("w") as output:
        process = subprocess.Popen(
            ["ip", "netns", "exec", lab.controller_namespace, *pytest_command],
            cwd=paths.ROOT,
            env=environment,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        Deadline(START_SECONDS).wait_for(
            "the first object of the run", lambda: list_open_entries(folder / "state")
        )
        Deadline(seconds).pause(seconds)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def list_open_entries(state_folder: Path) -> list[str]:
    """List the objects on hosts that are recorded in a journal and not yet removed.

    Args:
        state_folder: Folder with the journals of the run.
    """
    return [
        f"{entry.kind} {entry.name} on {entry.host}"
        for path in journal.list_journal_paths(state_folder / "journal")
        for entry in journal.parse_journal(path, path.read_text()).open_entries
    ]


def take_snapshots(lab: LabLayout, *, may_be_off: bool = False) -> dict[str, list[str]]:
    """Run SNAPSHOT_SCRIPT on each hypervisor and storage server of the lab.

    Returns:
        The output lines by host name. They describe the state of the host, for example its mounts.
    """
    ssh = ("ip", "netns", "exec", lab.controller_namespace, "ssh")
    snapshots = {}
    for host in lab.hosts:
        if host.spec.role is LabRole.CLIENT:
            continue
        sudo = "" if host.spec.quirks.login_user == ROOT_USER else "sudo "
        command = f"{sudo}env LC_ALL=C sh -c {shlex.quote(SNAPSHOT_SCRIPT)}"
        try:
            snapshots[host.name] = run_local_command([*ssh, host.name, command]).splitlines()
        except LabError:
            if not may_be_off:
                raise
            snapshots[host.name] = ["the host is off"]  # by an injected power failure
    return snapshots


def list_changes(before: dict[str, list[str]], after: dict[str, list[str]]) -> list[str]:
    """Compare two snapshots of all hosts, and list the lines that were added or removed."""
    return [
        f"{name}: {sign} {line}"
        for name in before
        for sign, line in (
            *(("-", line) for line in before[name] if line not in after[name]),
            *(("+", line) for line in after[name] if line not in before[name]),
        )
    ]
