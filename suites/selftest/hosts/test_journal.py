"""A journal entry is written before its object is created.

So the leftovers of a process can be removed after any crash of the process.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from migqual.hosts import journal
from migqual.hosts.journal import Journal, JournalEntry
from migqual.inventory.entities import Inventory, Tier

pytestmark = pytest.mark.selftest

INVENTORY = Inventory(hosts={}, pairs=(), tier=Tier.LAB, file=Path("hosts.yml"))
REMOVE_COMMAND = ("rm", "-f", "--", "/x")
# This program creates a journal with a single entry, then waits until the process is killed.
JOURNAL_WRITER = """
import sys
from pathlib import Path
from migqual.hosts.journal import Journal
from migqual.inventory.entities import Inventory
journal = Journal("run", Inventory(hosts={}, pairs=()), Path(sys.argv[1]))
journal.record("h1", "image", "/x", [("rm", "-f", "--", "/x")])
print("ready", flush=True)
sys.stdin.read()
"""


def render_lines(*lines: object) -> str:
    return "".join(json.dumps(line) + "\n" for line in lines)


def make_entry_line(number: int) -> dict[str, object]:
    return {"made": {"number": number, "host": "h1", "kind": "image", "name": "/x", "undo": []}}


def list_open_entry_numbers(path: Path) -> list[int]:
    with journal.open_orphaned_journal(path) as journal_file:
        assert journal_file is not None
        return [entry.number for entry in journal_file.open_entries]


def test_open_entries_are_listed_newest_first(tmp_path: Path) -> None:
    """Open entries are listed from newest to oldest, without removed entries."""
    run_journal = Journal("run", INVENTORY, tmp_path)
    first, second, third = (
        run_journal.record("h1", "image", name, [REMOVE_COMMAND]) for name in "abc"
    )

    run_journal.record_removal(second)
    run_journal.close()

    assert run_journal.open_entries == (third, first)


def test_closed_journal_without_open_entries_is_deleted(tmp_path: Path) -> None:
    """Closing a journal deletes the file if no entry is open; otherwise the file stays."""
    finished_journal, unfinished_journal = (
        Journal("clean", INVENTORY, tmp_path),
        Journal("dirty", INVENTORY, tmp_path),
    )
    finished_journal.record_removal(finished_journal.record("h1", "image", "a"))
    unfinished_journal.record("h1", "image", "a")

    finished_journal.close()
    unfinished_journal.close()

    assert [path.name for path in tmp_path.iterdir()] == [f"dirty.{os.getpid()}.jsonl"]


def test_journal_can_be_read_back(tmp_path: Path) -> None:
    """Run id, tier, absolute inventory path and undo commands are read back unchanged."""
    run_journal = Journal("run", INVENTORY, tmp_path)
    entry = run_journal.record("h1", "image", "/x", [REMOVE_COMMAND])
    run_journal.close()

    with journal.open_orphaned_journal(run_journal.file) as journal_file:
        assert journal_file is not None
        assert (journal_file.run_id, journal_file.tier) == ("run", "lab")
        assert journal_file.inventory == Path("hosts.yml").absolute()
        assert journal_file.open_entries == (entry,)
        assert journal_file.open_entries[0].undo == (REMOVE_COMMAND,)


@pytest.mark.parametrize("cut_length", range(1, 30))
def test_truncated_last_line_is_ignored(tmp_path: Path, cut_length: int) -> None:
    """A truncated last line of a journal is ignored.

    migqual creates an object only after its journal entry is complete, so the object of a
    truncated entry does not exist.
    """
    content = (
        render_lines({"run": "run"}, make_entry_line(1))
        + render_lines(make_entry_line(2))[:-cut_length]
    )
    path = tmp_path / "run.1.jsonl"
    path.write_text(content)

    assert list_open_entry_numbers(path) == ([2, 1] if cut_length == 1 else [1])


def test_removal_is_recorded_after_a_truncated_line(tmp_path: Path) -> None:
    """A journal with a truncated last line still records the removal of an object.

    `migqual sweep` removes the objects of a run that died, and records each removal in the journal.
    """
    path = tmp_path / "run.1.jsonl"
    path.write_text(
        render_lines({"run": "run"}, make_entry_line(1), make_entry_line(2)) + '{"made": {"numb'
    )

    with journal.open_orphaned_journal(path) as journal_file:
        assert journal_file is not None
        journal_file.record_removal(journal_file.open_entries[0])

    assert list_open_entry_numbers(path) == [1]


def test_journal_of_a_running_process_is_not_opened(tmp_path: Path) -> None:
    """
    A sweep can open the journal of a process only after the process has ended.

    Expected: before SIGKILL, the journal is not opened. After SIGKILL, the journal has the entry
    with the undo commands.
    """
    with subprocess.Popen(
        [sys.executable, "-c", JOURNAL_WRITER, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        (path,) = journal.list_journal_paths(tmp_path)

        with journal.open_orphaned_journal(path) as live_journal:
            assert live_journal is None
        process.kill()
        process.wait()

        with journal.open_orphaned_journal(path) as journal_file:
            assert journal_file is not None
            assert journal_file.open_entries == (
                JournalEntry(1, "h1", "image", "/x", (REMOVE_COMMAND,)),
            )


def test_missing_journal_is_not_opened(tmp_path: Path) -> None:
    """If another sweep has just deleted a journal, opening the journal gives None and no error."""
    with journal.open_orphaned_journal(tmp_path / "run.1.jsonl") as journal_file:
        assert journal_file is None
