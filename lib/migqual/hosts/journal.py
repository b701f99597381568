"""Record every resource before creation on a host, so cleanup can always remove the resource.

Each process has a file of JSON lines in `get_state_folder() / "journal"`. A line holds either a
new resource with the commands for the removal, or the number of a removed resource. At the end a
process deletes the file if all resources are removed. `migqual sweep` removes the resources of
processes that died.
"""

import fcntl
import json
import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

from migqual import paths
from migqual.inventory.entities import Inventory

Argv = tuple[str, ...]


@dataclass(frozen=True)
class JournalEntry:
    """A resource that migqual creates on a host.

    Cleanup runs the commands in `undo`. For a domain, cleanup first calls libvirt (destroy,
    undefine).

    Attributes:
        number: Number of the entry in the journal.
        host: Name of the host.
        kind: Kind of the resource, for example `domain`, `image` or `folder`.
        name: Name or path of the resource.
        undo: Commands that remove the resource. A repeated command must do no harm.
    """

    number: int
    host: str
    kind: str
    name: str
    undo: tuple[Argv, ...] = field(default_factory=tuple)


class Journal:
    """The journal of the resources that a process creates on hosts.

    Each method returns after the change is on the disk of the controller. Several threads can use
    the same journal.

    Example:
        Create a folder on a host. After a crash, `migqual sweep` removes the folder::

            journal = Journal("my-check", inventory)
            entry = journal.record(host.name, "folder", "/tmp/mq-1", [("rm", "-rf", "/tmp/mq-1")])
            host.shell.run("mkdir", "/tmp/mq-1")
            host.shell.run("rm", "-rf", "/tmp/mq-1")
            journal.record_removal(entry)
            journal.close()
    """

    def __init__(self, run_id: str, inventory: Inventory, folder: Path | None = None) -> None:
        self.folder = folder or paths.get_state_folder() / "journal"
        self.folder.mkdir(parents=True, exist_ok=True)
        self.file = self.folder / f"{run_id}.{os.getpid()}.jsonl"
        self._open_entries: dict[int, JournalEntry] = {}
        self._lock = threading.Lock()
        self._next_number = 1
        inventory_file = inventory.file.absolute() if inventory.file else ""
        header = {"run": run_id, "inventory": str(inventory_file), "tier": inventory.tier.value}
        # `migqual sweep` finds journals by the final name. A journal without a lock belongs to a
        # process that died. Therefore the process locks the file before the rename, and holds
        # the lock until the process ends.
        temporary_file = self.file.with_suffix(".new")
        self._stream = temporary_file.open("w", encoding="utf-8")
        fcntl.flock(self._stream, fcntl.LOCK_EX)
        self._write_line(header)
        temporary_file.rename(self.file)

    def record(self, host: str, kind: str, name: str, undo: Sequence[Argv] = ()) -> JournalEntry:
        """Record a resource that the caller will create on the host after the call.

        Args:
            host: Name of the host.
            kind: Kind of the resource, for example `domain`, `image` or `folder`.
            name: Name or path of the resource.
            undo: Commands that remove the resource. A repeated command must do no harm.

        Returns:
            The new entry; pass the entry to `record_removal` after the removal.
        """
        with self._lock:
            entry = JournalEntry(self._next_number, host, kind, name, tuple(undo))
            self._next_number += 1
            self._write_line({"made": asdict(entry)})
            self._open_entries[entry.number] = entry
        return entry

    def record_removal(self, entry: JournalEntry) -> None:
        """Record that the resource of `entry` is removed."""
        with self._lock:
            self._open_entries.pop(entry.number, None)
            self._write_line({"removed": entry.number})

    @property
    def open_entries(self) -> tuple[JournalEntry, ...]:
        """Return the entries of resources not yet removed, newest first (the order of removal)."""
        return tuple(sorted(self._open_entries.values(), key=lambda entry: -entry.number))

    def close(self) -> None:
        """Close the journal file, and delete the file if all resources are removed."""
        if not self._open_entries:
            self.file.unlink(missing_ok=True)
        self._stream.close()

    def _write_line(self, line: object) -> None:
        self._stream.write(json.dumps(line) + "\n")
        self._stream.flush()
        os.fsync(self._stream.fileno())


@dataclass(frozen=True)
class JournalFile:
    """The contents of a journal file.

    Attributes:
        path: Path of the journal file.
        run_id: Id of the run; empty when the file is not a journal.
        inventory: Path of the inventory of the run.
        tier: Kind of the hosts, `lab` or `real`.
        open_entries: Entries of resources not yet removed, newest first.
    """

    path: Path
    run_id: str
    inventory: Path
    tier: str
    open_entries: tuple[JournalEntry, ...]

    def record_removal(self, entry: JournalEntry) -> None:
        """Record in the file that the resource of `entry` is removed.

        If a process was killed while it wrote to the file, the last line of the file is incomplete.
        Therefore the method first begins a new line.
        """
        with self.path.open("a", encoding="utf-8") as stream:
            stream.write(f"\n{json.dumps({'removed': entry.number})}\n")
            stream.flush()
            os.fsync(stream.fileno())

    def delete(self) -> None:
        """Delete the journal file.

        Call the method when all resources are removed, or when the hosts no longer exist.
        """
        self.path.unlink(missing_ok=True)


def list_journal_paths(folder: Path | None = None) -> list[Path]:
    """List the journal files of running and ended processes, sorted by path."""
    return sorted((folder or paths.get_state_folder() / "journal").glob("*.jsonl"))


@contextmanager
def open_orphaned_journal(path: Path) -> Iterator[JournalFile | None]:
    """Open the journal of a process that has ended, and lock the file during the block.

    Yields:
        The journal; None when the process still runs or the file is gone.
    """
    if not path.exists():
        yield None
        return
    with path.open(encoding="utf-8") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield None
            return
        yield parse_journal(path, stream.read())


def parse_journal(path: Path, text: str) -> JournalFile:
    """Parse the text of a journal file; the function reads no file.

    A process writes a line to the journal, and only then creates the resource on the host. If the
    process died while it wrote the last line, the line is incomplete, and the resource does not
    exist. So the function ignores an incomplete line.

    Args:
        path: Path of the journal file, only copied into the result.
        text: Contents of the journal.

    Returns:
        The journal; `run_id` is empty when the text is not a journal.
    """
    header: dict[str, str] = {}
    entries: dict[int, JournalEntry] = {}
    for line in text.splitlines():
        try:
            record = json.loads(line)
        except ValueError:
            continue
        if not isinstance(record, dict):
            continue
        if "made" in record:
            fields = record["made"]
            fields["undo"] = tuple(tuple(argv) for argv in fields["undo"])
            entries[fields["number"]] = JournalEntry(**fields)
        elif "removed" in record:
            entries.pop(record["removed"], None)
        else:
            header = record
    newest_first = tuple(sorted(entries.values(), key=lambda entry: -entry.number))
    return JournalFile(
        path,
        header.get("run", ""),
        Path(header.get("inventory", "")),
        header.get("tier", ""),
        newest_first,
    )
