"""Tests of `migqual sweep`.

The command removes the resources named in journals, keeps entries of unreachable hosts, and
touches no other resource.
"""

import fcntl
import json
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from migqual import cli
from migqual.hosts.journal import open_orphaned_journal, parse_journal
from migqual.lab import state
from migqual.lab.layout import CONTROLLER_NAME, build_namespace_name
from migqual.sweep import remove_open_entries

pytestmark = pytest.mark.selftest

INVENTORY = """\
all:
  vars:
    ansible_user: root
    migqual_known_hosts: {folder}/known_hosts
    migqual_pairs: [{{source: h1, destination: h2}}]
  children:
    hypervisors:
      vars: {{migqual_service_bridge: br0, ansible_port: 1}}
      hosts:
        h1: {{ansible_host: 127.0.0.2, migqual_migration_address: 192.0.2.1}}
        h2: {{ansible_host: 127.0.0.3, migqual_migration_address: 192.0.2.2}}
"""


@pytest.fixture(autouse=True)
def machine_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder of a simulated machine without journals and labs."""
    for name in ("STATE", "LABS"):
        monkeypatch.setenv(f"MIGQUAL_{name}", str(tmp_path / name.lower()))
    (tmp_path / "known_hosts").touch()
    (tmp_path / "hosts.yml").write_text(INVENTORY.format(folder=tmp_path))
    (tmp_path / "state" / "journal").mkdir(parents=True)
    return tmp_path


@pytest.fixture(autouse=True)
def signal_handlers() -> Iterator[None]:
    """Restore the handlers of SIGTERM and SIGHUP after each test: `cli.main` replaces both."""
    signal_numbers = (signal.SIGTERM, signal.SIGHUP)
    original_handlers = [signal.getsignal(number) for number in signal_numbers]
    yield
    for signal_number, handler in zip(signal_numbers, original_handlers, strict=True):
        signal.signal(signal_number, handler)


def write_journal(machine_folder: Path, *, inventory: Path, tier: str, host: str = "h1") -> Path:
    """Write the journal of a run that died, with one entry: the disk image `/x` on `host`."""
    entry = {"number": 1, "host": host, "kind": "image", "name": "/x", "undo": [["rm", "/x"]]}
    lines = ({"run": "r", "inventory": str(inventory), "tier": tier}, {"made": entry})
    path = machine_folder / "state" / "journal" / "r.1.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def test_journal_of_ended_lab_is_deleted(
    machine_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """
    `migqual sweep` deletes the journal of a lab that no longer exists, and prints the reason.

    Preconditions: the inventory file of the lab, which the journal names, does not exist.
    """
    journal_path = write_journal(
        machine_folder, inventory=machine_folder / "labs" / "x" / "inventory.yml", tier="lab"
    )

    assert cli.main(["sweep"]) == 0

    assert not journal_path.exists()
    assert "the lab of this journal no longer exists" in capsys.readouterr().out


def test_lab_without_namespace_counts_as_ended(machine_folder: Path) -> None:
    """
    `migqual sweep` deletes the journal of a lab whose network namespaces no longer exist.

    Preconditions: the inventory file of the lab still exists.
    """
    inventory_path = machine_folder / "labs" / "nosuchlab" / "inventory.yml"
    inventory_path.parent.mkdir(parents=True)
    inventory_path.write_text((machine_folder / "hosts.yml").read_text())
    journal_path = write_journal(machine_folder, inventory=inventory_path, tier="lab")
    assert not (
        state.NAMESPACE_FOLDER / build_namespace_name("nosuchlab", CONTROLLER_NAME)
    ).exists()

    assert cli.main(["sweep"]) == 0

    assert not journal_path.exists()


def test_unreachable_host_keeps_its_entry(
    machine_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """`migqual sweep` names a host that is unreachable, and returns exit code 1.

    The journal keeps the entry for the disk image on this host, for the next sweep.
    """
    journal_path = write_journal(
        machine_folder, inventory=machine_folder / "hosts.yml", tier="real"
    )
    original_text = journal_path.read_text()

    assert cli.main(["sweep"]) == 1

    assert journal_path.read_text() == original_text
    assert "could not remove image /x on h1: h1: SSH to root@127.0.0.2:1" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("inventory", "host", "message"),
    [("gone.yml", "h1", "gone.yml: 1 error"), ("hosts.yml", "h9", "no host 'h9'")],
)
def test_missing_inventory_or_host_keeps_journal(
    machine_folder: Path,
    inventory: str,
    host: str,
    message: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """
    `migqual sweep` keeps the journal of real hosts if the inventory file or the host is missing.

    Preconditions: the inventory file named in the journal does not exist, or does not contain the
    host of the journal entry.
    Expected: exit code 1, and a message that names the missing file or host.
    """
    journal_path = write_journal(
        machine_folder, inventory=machine_folder / inventory, tier="real", host=host
    )

    assert cli.main(["sweep"]) == 1

    assert journal_path.exists()
    assert message in capsys.readouterr().out


def test_dry_run_changes_nothing(machine_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`--dry-run` connects to no host and prints the resources to remove."""
    journal_path = write_journal(
        machine_folder, inventory=machine_folder / "hosts.yml", tier="real"
    )

    assert cli.main(["sweep", "--dry-run"]) == 0

    assert journal_path.exists()
    assert "would remove image /x on h1" in capsys.readouterr().out


def test_forget_gives_up_entries_of_a_host(
    machine_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """
    `--forget HOST` closes the entries of a host and prints the commands for a removal by hand.

    Expected: if the journals have no entry of the host, the exit code is 2 and nothing changes. If
    `--forget` and `--dry-run` are given together, the exit code is also 2 and nothing changes.
    """
    journal_path = write_journal(machine_folder, inventory=machine_folder / "gone.yml", tier="real")

    assert cli.main(["sweep", "--forget", "h2"]) == 2
    assert cli.main(["sweep", "--forget", "h1", "--dry-run"]) == 2
    assert journal_path.exists()
    assert cli.main(["sweep", "--forget", "h1"]) == 0

    assert not journal_path.exists()
    assert (
        "entry of image /x on h1; to remove or restore this object by hand, run rm /x"
        in capsys.readouterr().out
    )


def test_forget_refuses_journal_of_live_run(machine_folder: Path) -> None:
    """`--forget` refuses the journal of a live run, and does not change the journal."""
    journal_path = write_journal(
        machine_folder, inventory=machine_folder / "hosts.yml", tier="real"
    )
    original_text = journal_path.read_text()

    with journal_path.open() as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        assert cli.main(["sweep", "--forget", "h1"]) == 2

    assert journal_path.read_text() == original_text


@pytest.mark.parametrize("text", ["all:\n  vars: {}\n", "", "5\n"])
def test_file_without_journal_is_refused_and_kept(machine_folder: Path, text: str) -> None:
    """A file that is not a journal is refused and kept: a mistyped path must not delete a file."""
    path = machine_folder / "other.yml"
    path.write_text(text)

    assert cli.main(["sweep", str(path)]) == 2

    assert path.read_text() == text


def test_sweep_of_one_host_keeps_entries_of_other_hosts(machine_folder: Path) -> None:
    """
    A sweep of a single host connects to no other host and keeps the journal entries of other hosts.

    Preconditions: the journal has one entry, for an image on h1. The sweep is only for h2.
    """
    journal_path = write_journal(
        machine_folder, inventory=machine_folder / "hosts.yml", tier="hosts"
    )
    progress_lines: list[str] = []

    with open_orphaned_journal(journal_path) as journal_file:
        assert journal_file is not None
        assert remove_open_entries(journal_file, progress_lines.append, ["h2"])

    assert progress_lines == []
    assert [
        entry.name for entry in parse_journal(journal_path, journal_path.read_text()).open_entries
    ] == ["/x"]
