"""Provide the hosts of `migqual run` from an inventory file or from a lab."""

import argparse
import fcntl
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from migqual.commands import lab as lab_command
from migqual.commands import sweep
from migqual.commands.lab import print_progress
from migqual.lab import lifecycle, state
from migqual.lab.layout import LabLayout


@dataclass(frozen=True)
class RunTarget:
    """The hosts that a run tests.

    Attributes:
        inventory: The inventory file, which lists the hosts.
        lab: The layout of the lab, or None if the user gave an inventory file.
    """

    inventory: Path
    lab: LabLayout | None = None


@dataclass
class Cleanup:
    """The removal of the objects that runs left on hosts.

    Attributes:
        inventories: Inventory files. The objects of runs that used one of these files are removed.
        is_complete: False if an object could not be removed.
    """

    inventories: list[Path] = field(default_factory=list)
    is_complete: bool = True

    def sweep(self) -> None:
        """Remove the objects of ended runs from the hosts of all inventories."""
        for inventory in self.inventories:
            if not sweep.sweep_journals(sweep.find_journals(inventory)):
                self.is_complete = False


@contextmanager
def sweep_afterwards() -> Iterator[Cleanup]:
    """Run the block, then remove the objects that crashed runs left on hosts.

    Yields:
        A `Cleanup` without inventory files. In the block, the caller appends the inventory file
        of the hosts to `inventories`.
    """
    cleanup = Cleanup()
    try:
        yield cleanup
    finally:
        cleanup.sweep()


@contextmanager
def open_target(arguments: argparse.Namespace) -> Iterator[RunTarget]:
    """Provide the hosts of a run while the block runs.

    Without --inventory, the hosts are a lab. A lab that is already up is used, and stays up. If no
    lab is up, the function builds a lab. The function removes this lab at the end of the block,
    unless the user gave --keep or another run uses the lab.
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
    """Return the layout of the lab that is up. If no lab is up, build the lab first.

    Without --topology and --guest, the function accepts any lab that is up.

    Raises:
        UsageError: The lab that is up does not match the values of --topology and --guest.
    """
    if was_up and arguments.topology is None and arguments.guest is None:
        print_progress(f"lab {arguments.name} is already up, and stays up after the run")
        return state.read_lab_state(arguments.name)[1]
    source = arguments.topology or lab_command.DEFAULT_TOPOLOGY
    requested_topology = lab_command.read_topology(source, arguments.lanes, arguments.guest)
    lab = lifecycle.start_lab(
        requested_topology, arguments.name, report_progress=print_progress, topology_name=source
    )
    print_progress(f"lab {arguments.name} is up, acceleration {lab.acceleration}")
    return lab.layout


@contextmanager
def _share_lab(layout: LabLayout) -> Iterator[Callable[[], bool]]:
    """Hold a shared file lock on the lab while the block runs.

    Yields:
        A function that returns whether another run uses the lab. The function requests an
        exclusive lock. The request fails while another run holds a shared lock.
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
