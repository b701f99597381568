"""The hosts of `migqual run`: the hosts of an inventory, or a lab built for the run."""

import argparse
import fcntl
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from migqual.commands import lab as lab_command
from migqual.commands import sweep
from migqual.commands.lab import print_progress
from migqual.lab import lifecycle, state
from migqual.lab.layout import LabLayout


@dataclass(frozen=True)
class RunTarget:
    """The hosts to qualify.

    Attributes:
        inventory: The inventory file.
        lab: The layout of the lab; None when the hosts are not in a lab.
    """

    inventory: Path
    lab: LabLayout | None = None


@contextmanager
def sweep_afterwards() -> Iterator[list[Path]]:
    """Yield an empty list for inventory files, and sweep the journals of their runs afterwards.

    The sweep runs after the lab has ended. The end of the lab has then already removed all
    objects on the hosts.
    """
    inventories: list[Path] = []
    try:
        yield inventories
    finally:
        for inventory in inventories:
            sweep.sweep_journals(sweep.find_journals(inventory))


@contextmanager
def open_target(arguments: argparse.Namespace) -> Iterator[RunTarget]:
    """Yield the hosts of the run. Afterwards remove a lab built for the run, unless in use."""
    if arguments.inventory is not None:
        yield RunTarget(arguments.inventory.absolute())
        return
    was_up = state.detect_lab_phase(arguments.name) is state.LabPhase.UP
    layout = _ensure_lab(arguments, was_up=was_up)
    with _share_lab(layout) as is_in_use:
        try:
            yield RunTarget(layout.inventory_file, layout)
        finally:
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            if not (was_up or arguments.keep or is_in_use()):
                lifecycle.remove_lab(arguments.name)
                print_progress(f"lab {arguments.name}: removed")


def _ensure_lab(arguments: argparse.Namespace, *, was_up: bool) -> LabLayout:
    """Return the layout of the lab: the lab already up, or a new lab.

    A lab already up is used unless --topology is given.
    """
    if was_up and arguments.topology is None:
        print_progress(f"lab {arguments.name} is up already; it stays up after the run")
        return state.read_lab_state(arguments.name)[1]
    source = arguments.topology or lab_command.DEFAULT_TOPOLOGY
    requested_topology = lab_command.read_topology(source, arguments.lanes)
    lab = lifecycle.start_lab(
        requested_topology, arguments.name, report_progress=print_progress, topology_name=source
    )
    print_progress(f"lab {arguments.name} is up, acceleration {lab.acceleration}")
    return lab.layout


@contextmanager
def _share_lab(layout: LabLayout) -> Iterator[Callable[[], bool]]:
    """Hold a shared lock on the lab, and yield a check for other runs.

    Every run holds the shared lock. Only the last run can get an exclusive lock.
    """
    with (layout.runtime_folder / "lab.json").open() as stream:
        fcntl.flock(stream, fcntl.LOCK_SH)

        def is_used_by_another_run() -> bool:
            try:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                print_progress(f"lab {layout.name} is in use by another run; it stays up")
                return True
            return False

        yield is_used_by_another_run
