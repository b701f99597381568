"""`migqual sweep`: remove the objects that crashed runs left on hosts."""

import argparse
import shlex
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from migqual import paths, sweep
from migqual.commands.lab import print_progress
from migqual.errors import UsageError
from migqual.hosts import journal
from migqual.hosts.host import remove_stale_ssh_folders
from migqual.hosts.journal import JournalFile
from migqual.lab import layout, state

if TYPE_CHECKING:
    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]  # noqa: SLF001 - has no other name

LAB_TIER = "lab"


def register(subparsers: "Subparsers") -> None:
    """Add the command `sweep`."""
    parser = subparsers.add_parser(
        "sweep",
        description="Removes the objects that crashed runs left on hosts. The journals of the runs "
        "name these objects. Exit code 1 if an object could not be removed, for example on an "
        "unreachable host.",
    )
    parser.add_argument(
        "--dry-run",
        action="store_true",
        help="only print the objects that sweep would remove; connect to no host; exit code 0",
    )
    parser.add_argument(
        "--forget",
        action="append",
        default=[],
        metavar="HOST",
        help="delete the journal entries of a host that will never be reachable again; print the "
        "objects that may still be on the host, and the commands to remove or restore them",
    )
    parser.add_argument(
        "journals",
        nargs="*",
        type=Path,
        metavar="JOURNAL",
        help="sweep only these journals (default: all)",
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Remove the objects of the given journals, or of all journals.

    Returns:
        The exit code: 0, or 1 when an object could not be removed.

    Raises:
        UsageError: A file is not a journal, or --dry-run and --forget are given together.
    """
    remove_stale_ssh_folders()
    journal_paths = (
        list(dict.fromkeys(map(_find_journal, arguments.journals))) or journal.list_journal_paths()
    )
    if arguments.forget and arguments.dry_run:
        raise UsageError(
            "--dry-run and --forget cannot be used together", remedy="give only one of them"
        )
    _forget_hosts(journal_paths, arguments.forget)
    if not journal_paths:
        print("migqual: there is no journal, so no run left an object on a host")
    return 0 if sweep_journals(journal_paths, dry_run=arguments.dry_run) else 1


def _find_journal(path: Path) -> Path:
    """Find the journal of a run by its path, or by its file name in the journal folder.

    Raises:
        UsageError: No such journal exists, or the file is not a journal.
    """
    journal_folder = paths.get_state_folder() / "journal"
    for candidate in (path, journal_folder / path):
        if candidate.is_file():
            break
    else:
        raise UsageError(
            f"{path}: no such journal", remedy=f"give the name of a file in {journal_folder}"
        )
    if not journal.parse_journal(
        candidate, candidate.read_text(encoding="utf-8", errors="replace")
    ).run_id:
        raise UsageError(
            f"{path}: not a journal", remedy=f"give the name of a journal in {journal_folder}"
        )
    return candidate


def _forget_hosts(paths: Iterable[Path], host_names: list[str]) -> None:
    """Delete the entries of the given hosts from the journals of crashed runs.

    The objects stay on the hosts. The function prints the commands that remove the objects.

    Raises:
        UsageError: No journal of a crashed run has an entry of one of the hosts.
    """
    unknown_hosts = set(host_names)
    for path in paths:
        with journal.open_orphaned_journal(path) as journal_file:
            if journal_file is None:
                continue
            for entry in journal_file.open_entries:
                if entry.host in host_names:
                    unknown_hosts.discard(entry.host)
                    journal_file.record_removal(entry)
                    undo_commands = "; ".join(shlex.join(argv) for argv in entry.undo)
                    print_progress(
                        f"{path.name}: deleted the entry of {sweep.describe_entry(entry)}; "
                        f"to remove or restore this object by hand, run {undo_commands}"
                    )
    if unknown_hosts:
        raise UsageError(
            f"no journal of a crashed run has an entry of host {', '.join(sorted(unknown_hosts))}",
            remedy="`migqual sweep --dry-run` lists the entries of all journals",
        )


def find_journals(inventory_file: Path) -> list[Path]:
    """Find the journals of crashed runs that used the file `inventory_file`."""
    absolute_path = inventory_file.absolute()
    journal_paths = []
    for path in journal.list_journal_paths():
        with journal.open_orphaned_journal(path) as journal_file:
            if journal_file is not None and journal_file.inventory == absolute_path:
                journal_paths.append(path)
    return journal_paths


def sweep_journals(paths: Iterable[Path], *, dry_run: bool = False) -> bool:
    """Remove the objects that crashed runs left on hosts, and print each removed object.

    Args:
        paths: The journals, which name the objects. The journal of an active run is skipped.
        dry_run: Only print the objects, and connect to no host.

    Returns:
        False if an object could not be removed, else True.
    """
    results = [_sweep_journal(path, dry_run=dry_run) for path in paths]
    return all(results)


def _sweep_journal(path: Path, *, dry_run: bool) -> bool:
    with journal.open_orphaned_journal(path) as journal_file:
        if journal_file is None:
            print_progress(f"{path.name}: skipped, because its run is still active")
            return True
        if journal_file.open_entries and _is_lab_gone(journal_file):
            print_progress(
                f"{path.name}: the lab of this journal no longer exists, so there is nothing to "
                "remove"
            )
            if not dry_run:
                journal_file.delete()
            return True
        namespace = _find_namespace_to_enter(journal_file)
        if namespace is None:
            return _remove_or_list_entries(journal_file, dry_run=dry_run)
    # The lock on the journal is free again: the process in the namespace can take the lock.
    command = [sys.executable, "-m", "migqual.cli", "sweep", *["--dry-run"][: int(dry_run)]]
    namespace_command = ["ip", "netns", "exec", namespace, *command, str(path)]
    return subprocess.run(namespace_command, check=False).returncode == 0


def _remove_or_list_entries(journal_file: JournalFile, *, dry_run: bool) -> bool:
    name = journal_file.path.name
    if dry_run:
        for entry in journal_file.open_entries:
            print_progress(f"{name}: would remove {sweep.describe_entry(entry)}")
        return True
    try:
        return sweep.remove_open_entries(
            journal_file, lambda message: print_progress(f"{name}: {message}")
        )
    except UsageError as error:
        print_progress(f"{name}: nothing removed, because its inventory cannot be used: {error}")
        return False


def _is_lab_gone(journal_file: JournalFile) -> bool:
    """Return whether the journal of a run names the hosts of a lab that no longer exists.

    Then nothing is left to remove: the objects in the journal ended with the lab.
    """
    if journal_file.tier != LAB_TIER:
        return False
    if not journal_file.inventory.exists():
        return True
    return _is_local_lab(journal_file) and not _locate_namespace(journal_file).exists()


def _find_namespace_to_enter(journal_file: JournalFile) -> str | None:
    """Find the network namespace that a process must enter to reach the hosts in a run's journal.

    Returns:
        The name of the namespace, or None if the process need not enter a namespace.
    """
    if (
        not journal_file.open_entries
        or journal_file.tier != LAB_TIER
        or not _is_local_lab(journal_file)
    ):
        return None
    namespace = _locate_namespace(journal_file).name
    return None if state.find_current_namespace() == namespace else namespace


def _is_local_lab(journal_file: JournalFile) -> bool:
    return journal_file.inventory.parent.parent == paths.get_labs_folder()


def _locate_namespace(journal_file: JournalFile) -> Path:
    return state.NAMESPACE_FOLDER / layout.build_namespace_name(
        journal_file.inventory.parent.name, layout.CONTROLLER_NAME
    )
