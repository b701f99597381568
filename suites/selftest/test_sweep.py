"""`migqual sweep`: removes what journals name, keeps what it cannot reach, touches nothing else."""

import fcntl
import json
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from migqual import cli
from migqual.hosts.journal import orphaned, read
from migqual.lab import state
from migqual.lab.layout import CONTROLLER, namespace
from migqual.sweep import sweep

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
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine of its own: no journals, no labs."""
    for name in ("STATE", "LABS"):
        monkeypatch.setenv(f"MIGQUAL_{name}", str(tmp_path / name.lower()))
    (tmp_path / "known_hosts").touch()
    (tmp_path / "hosts.yml").write_text(INVENTORY.format(folder=tmp_path))
    (tmp_path / "state" / "journal").mkdir(parents=True)
    return tmp_path


@pytest.fixture(autouse=True)
def signals() -> Iterator[None]:
    """The command line takes SIGTERM and SIGHUP over; they are given back."""
    numbers = (signal.SIGTERM, signal.SIGHUP)
    before = [signal.getsignal(number) for number in numbers]
    yield
    for number, handler in zip(numbers, before, strict=True):
        signal.signal(number, handler)


def journal(folder: Path, *, inventory: Path, tier: str, host: str = "h1") -> Path:
    """A dead process's journal with one image in it."""
    made = {"number": 1, "host": host, "kind": "image", "name": "/x", "undo": [["rm", "/x"]]}
    lines = ({"run": "r", "inventory": str(inventory), "tier": tier}, {"made": made})
    file = folder / "state" / "journal" / "r.1.jsonl"
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return file


def test_a_lab_that_is_gone_took_everything_with_it(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The journal of a lab without an inventory file is dropped, and that is said."""
    file = journal(folder, inventory=folder / "labs" / "x" / "inventory.yml", tier="lab")

    assert cli.main(["sweep"]) == 0

    assert not file.exists()
    assert "the lab is gone" in capsys.readouterr().out


def test_a_dead_lab_counts_as_gone(folder: Path) -> None:
    """An inventory file alone makes no lab: without the namespace there are no hosts."""
    inventory = folder / "labs" / "nosuchlab" / "inventory.yml"
    inventory.parent.mkdir(parents=True)
    inventory.write_text((folder / "hosts.yml").read_text())
    file = journal(folder, inventory=inventory, tier="lab")
    assert not (state.NAMESPACES / namespace("nosuchlab", CONTROLLER)).exists()

    assert cli.main(["sweep"]) == 0

    assert not file.exists()


def test_a_host_that_is_away_keeps_its_entry(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """An unreachable host is named; its entry waits for the next sweep; exit code 1."""
    file = journal(folder, inventory=folder / "hosts.yml", tier="real")
    before = file.read_text()

    assert cli.main(["sweep"]) == 1

    assert file.read_text() == before
    assert "kept image /x on h1: h1: SSH to root@127.0.0.2:1" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("inventory", "host", "words"),
    [("gone.yml", "h1", "gone.yml: 1 error"), ("hosts.yml", "h9", "no host 'h9'")],
)
def test_an_inventory_that_no_longer_fits(
    folder: Path, inventory: str, host: str, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Real hosts are never forgotten because their inventory is: the journal stays."""
    file = journal(folder, inventory=folder / inventory, tier="real", host=host)

    assert cli.main(["sweep"]) == 1

    assert file.exists()
    assert words in capsys.readouterr().out


def test_dry_run_changes_nothing(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`--dry-run` connects to nothing and names what would go."""
    file = journal(folder, inventory=folder / "hosts.yml", tier="real")

    assert cli.main(["sweep", "--dry-run"]) == 0

    assert file.exists()
    assert "would remove image /x on h1" in capsys.readouterr().out


def test_what_will_not_come_back_is_forgotten(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """`--forget HOST` gives up on that host, and says how to do by hand what is left undone."""
    file = journal(folder, inventory=folder / "gone.yml", tier="real")

    assert cli.main(["sweep", "--forget", "h2"]) == 2
    assert cli.main(["sweep", "--forget", "h1", "--dry-run"]) == 2
    assert file.exists()
    assert cli.main(["sweep", "--forget", "h1"]) == 0

    assert not file.exists()
    assert "gave up image /x on h1; by hand: rm /x" in capsys.readouterr().out


def test_a_run_that_lives_is_not_forgotten(folder: Path) -> None:
    """Nothing of its journal is struck out."""
    file = journal(folder, inventory=folder / "hosts.yml", tier="real")
    before = file.read_text()

    with file.open() as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        assert cli.main(["sweep", "--forget", "h1"]) == 2

    assert file.read_text() == before


@pytest.mark.parametrize("text", ["all:\n  vars: {}\n", "", "5\n"])
def test_what_is_no_journal_is_left_alone(folder: Path, text: str) -> None:
    """A slip of the pen removes no file."""
    file = folder / "other.yml"
    file.write_text(text)

    assert cli.main(["sweep", str(file)]) == 2

    assert file.read_text() == text


def test_other_hosts_keep_what_is_theirs(folder: Path) -> None:
    """Asked for one host, nothing is tried at another, and its entry stays."""
    file = journal(folder, inventory=folder / "hosts.yml", tier="hosts")
    said: list[str] = []

    with orphaned(file) as remains:
        assert remains is not None
        assert sweep(remains, said.append, ["h2"])

    assert said == []
    assert [made.name for made in read(file, file.read_text()).outstanding] == ["/x"]
