"""Provide the hosts of `migqual run`: from an inventory file, or from a lab."""

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
    """The hosts on which a run tests.

    Attributes:
        inventory: The inventory file.
        lab: The layout of the lab; None if the user gave an inventory file.
    """

    inventory: Path
    lab: LabLayout | None = None


@contextmanager
def sweep_afterwards() -> Iterator[list[Path]]:
    """Sweep the journals of dead runs at the end of the block.

    Yields:
        An empty list. The caller adds inventory files; only the journals of runs on these
        inventories are swept.
    """
    inventories: list[Path] = []
    try:
        yield inventories
    finally:
        for inventory in inventories:
            sweep.sweep_journals(sweep.find_journals(inventory))


@contextmanager
def open_target(arguments: argparse.Namespace) -> Iterator[RunTarget]:
    """Provide the hosts of a run while the block runs; without --inventory use or build a lab.

    At the end a new lab is removed, unless the user gave --keep or another run uses the lab.
    """
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
    """Use the lab that is up, or build a lab, and return its layout.

    With --topology, a lab that is up must have the same topology.
    """
    if was_up and arguments.topology is None:
        print_progress(f"lab {arguments.name} is already up, and stays up after the run")
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
    """Hold a shared lock on the lab while the block runs.

    Yields:
        A function that returns whether another run uses the lab. Every run holds the shared
        lock, so only the last run can get the exclusive lock.
    """
    with (layout.runtime_folder / "lab.json").open() as stream:
        fcntl.flock(stream, fcntl.LOCK_SH)

        def is_used_by_another_run() -> bool:
            try:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                print_progress(f"lab {layout.name} stays up, because another run uses the lab")
                return True
            return False

        yield is_used_by_another_run
