"""Journals: what is written before it is made can be found and removed after any death."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from migqual.hosts import journal
from migqual.hosts.journal import Journal, Made
from migqual.model.inventory import Inventory, Tier

pytestmark = pytest.mark.selftest

INVENTORY = Inventory(hosts={}, pairs=(), tier=Tier.LAB, file=Path("hosts.yml"))
REMOVE = ("rm", "-f", "--", "/x")
# Makes a journal with one thing in it and waits to be killed.
DIES = """
import sys
from pathlib import Path
from migqual.hosts.journal import Journal
from migqual.model.inventory import Inventory
made = Journal("run", Inventory(hosts={}, pairs=()), Path(sys.argv[1]))
made.record("h1", "image", "/x", [("rm", "-f", "--", "/x")])
print("ready", flush=True)
sys.stdin.read()
"""


def text(*lines: object) -> str:
    return "".join(json.dumps(line) + "\n" for line in lines)


def made(number: int) -> dict[str, object]:
    return {"made": {"number": number, "host": "h1", "kind": "image", "name": "/x", "undo": []}}


def outstanding(file: Path) -> list[int]:
    with journal.orphaned(file) as remains:
        assert remains is not None
        return [one.number for one in remains.outstanding]


def test_newest_goes_first(tmp_path: Path) -> None:
    """What was made last has to go first; what was removed is not named again."""
    kept = Journal("run", INVENTORY, tmp_path)
    first, second, third = (kept.record("h1", "image", name, [REMOVE]) for name in "abc")

    kept.removed(second)
    kept.close()

    assert kept.outstanding == (third, first)


def test_a_journal_without_remains_goes(tmp_path: Path) -> None:
    """Closed with nothing outstanding it leaves no file; else the file stays."""
    clean, dirty = Journal("clean", INVENTORY, tmp_path), Journal("dirty", INVENTORY, tmp_path)
    clean.removed(clean.record("h1", "image", "a"))
    dirty.record("h1", "image", "a")

    clean.close()
    dirty.close()

    assert [file.name for file in tmp_path.iterdir()] == [f"dirty.{os.getpid()}.jsonl"]


def test_what_is_written_is_read(tmp_path: Path) -> None:
    """Run, tier, inventory (absolute) and the commands that undo come back as they were."""
    wrote = Journal("run", INVENTORY, tmp_path)
    entry = wrote.record("h1", "image", "/x", [REMOVE])
    wrote.close()

    with journal.orphaned(wrote.file) as remains:
        assert remains is not None
        assert (remains.run, remains.tier) == ("run", "lab")
        assert remains.inventory == Path("hosts.yml").absolute()
        assert remains.outstanding == (entry,)
        assert remains.outstanding[0].undo == (REMOVE,)


@pytest.mark.parametrize("cut", range(1, 30))
def test_a_torn_last_line_is_nothing(tmp_path: Path, cut: int) -> None:
    """A process died while writing: what it was about to make was not made yet."""
    whole = text({"run": "run"}, made(1)) + text(made(2))[:-cut]
    file = tmp_path / "run.1.jsonl"
    file.write_text(whole)

    assert outstanding(file) == ([2, 1] if cut == 1 else [1])


def test_removal_is_written_after_a_torn_line(tmp_path: Path) -> None:
    """What a sweep adds is not lost in the torn line that it follows."""
    file = tmp_path / "run.1.jsonl"
    file.write_text(text({"run": "run"}, made(1), made(2)) + '{"made": {"numb')

    with journal.orphaned(file) as remains:
        assert remains is not None
        remains.removed(remains.outstanding[0])

    assert outstanding(file) == [1]


def test_a_living_process_keeps_its_journal(tmp_path: Path) -> None:
    """
    Nobody sweeps what a living process has made; once it is killed, everyone may.

    Expected: nothing to see before SIGKILL, the thing and how to undo it afterwards.
    """
    with subprocess.Popen(
        [sys.executable, "-c", DIES, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        (file,) = journal.files(tmp_path)

        with journal.orphaned(file) as while_alive:
            assert while_alive is None
        process.kill()
        process.wait()

        with journal.orphaned(file) as remains:
            assert remains is not None
            assert remains.outstanding == (Made(1, "h1", "image", "/x", (REMOVE,)),)


def test_a_journal_that_vanishes_is_nobodys(tmp_path: Path) -> None:
    """Two sweeps at once: the second finds the file gone and does nothing."""
    with journal.orphaned(tmp_path / "run.1.jsonl") as remains:
        assert remains is None
