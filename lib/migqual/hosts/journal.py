"""What we make on hosts, written down before it is made, so that it can always be removed.

One file of JSON lines per process, in `places.state()/journal`. A line is either something made
(with the commands that remove it) or the id of something removed. A file whose things are all
removed is deleted. `migqual sweep` works off the files of processes that died.
"""

import fcntl
import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

from migqual import places
from migqual.model.inventory import Inventory

Argv = tuple[str, ...]


@dataclass(frozen=True)
class Made:
    """One thing on one host. `undo`: commands that remove it, each harmless when it is gone.

    A domain is removed through libvirt (destroy, undefine), everything else by its commands.
    """

    number: int
    host: str
    kind: str
    name: str
    undo: tuple[Argv, ...] = field(default_factory=tuple)


class Journal:
    """The journal of one process. Every change is on disk before the call returns."""

    def __init__(self, run: str, inventory: Inventory, folder: Path | None = None) -> None:
        self.folder = folder or places.state() / "journal"
        self.folder.mkdir(parents=True, exist_ok=True)
        self.file = self.folder / f"{run}.{os.getpid()}.jsonl"
        self._open: dict[int, Made] = {}
        self._next = 1
        file = inventory.file.absolute() if inventory.file else ""
        head = {"run": run, "inventory": str(file), "tier": inventory.tier.value}
        # locked before it has the name that sweep looks for, and held while we live
        unseen = self.file.with_suffix(".new")
        self._stream = unseen.open("w", encoding="utf-8")
        fcntl.flock(self._stream, fcntl.LOCK_EX)
        self._write(head)
        unseen.rename(self.file)

    def record(self, host: str, kind: str, name: str, undo: Sequence[Argv] = ()) -> Made:
        """Write down what is about to be made."""
        made = Made(self._next, host, kind, name, tuple(undo))
        self._next += 1
        self._write({"made": asdict(made)})
        self._open[made.number] = made
        return made

    def removed(self, made: Made) -> None:
        self._open.pop(made.number, None)
        self._write({"removed": made.number})

    @property
    def outstanding(self) -> tuple[Made, ...]:
        """What is still there, newest first: the order in which it has to go."""
        return tuple(sorted(self._open.values(), key=lambda made: -made.number))

    def close(self) -> None:
        """Delete the file if nothing is outstanding."""
        if not self._open:
            self.file.unlink(missing_ok=True)
        self._stream.close()

    def _write(self, line: object) -> None:
        self._stream.write(json.dumps(line) + "\n")
        self._stream.flush()
        os.fsync(self._stream.fileno())


@dataclass(frozen=True)
class Remains:
    """A journal whose process is gone. Without `run` it is no journal at all."""

    file: Path
    run: str
    inventory: Path
    tier: str
    outstanding: tuple[Made, ...]

    def removed(self, made: Made) -> None:
        """Write down that one thing is gone, on a line of its own even after a torn one."""
        with self.file.open("a", encoding="utf-8") as stream:
            stream.write(f"\n{json.dumps({'removed': made.number})}\n")
            stream.flush()
            os.fsync(stream.fileno())

    def drop(self) -> None:
        """Delete the journal: nothing of it is left, or what it was on is gone itself."""
        self.file.unlink(missing_ok=True)


def files(folder: Path | None = None) -> list[Path]:
    """Every journal there is, of living processes and of dead ones."""
    return sorted((folder or places.state() / "journal").glob("*.jsonl"))


@contextmanager
def orphaned(file: Path) -> Iterator[Remains | None]:
    """What the journal `file` still names, or None while its process lives or once it is gone."""
    if not file.exists():
        yield None
        return
    with file.open(encoding="utf-8") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield None
            return
        yield read(file, stream.read())


def read(file: Path, text: str) -> Remains:
    """Pure: what of a journal's text is outstanding, newest first. A torn last line is nothing:
    what it names was not made yet."""
    head: dict[str, str] = {}
    made: dict[int, Made] = {}
    for line in text.splitlines():
        try:
            entry = json.loads(line)
        except ValueError:
            continue
        if not isinstance(entry, dict):
            continue
        if "made" in entry:
            raw = entry["made"]
            raw["undo"] = tuple(tuple(argv) for argv in raw["undo"])
            made[raw["number"]] = Made(**raw)
        elif "removed" in entry:
            made.pop(entry["removed"], None)
        else:
            head = entry
    newest_first = tuple(sorted(made.values(), key=lambda one: -one.number))
    return Remains(
        file,
        head.get("run", ""),
        Path(head.get("inventory", "")),
        head.get("tier", ""),
        newest_first,
    )
