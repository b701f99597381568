"""The command line: errors are one message and an exit code, never a traceback."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path

import pytest

import migqual
from migqual import cli, places
from migqual.commands import run
from migqual.deadline import Deadline
from migqual.errors import TroubleError
from migqual.model.finding import Finding, Severity
from migqual.model.inventory_file import load_inventory

pytestmark = pytest.mark.selftest

COMMAND = [sys.executable, "-m", "migqual.cli"]
NAMED = ["--name", "nosuchlab"]


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """A machine without labs, caches and journals."""
    inner = {f"MIGQUAL_{name}": str(tmp_path / name.lower()) for name in ("STATE", "CACHE", "LABS")}
    return {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ} | inner


def migqual_says(environment: dict[str, str], *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *words],
        env=environment,
        cwd=places.ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_version(environment: dict[str, str]) -> None:
    """`--version` names the program and its version."""
    said = migqual_says(environment, "--version")

    assert (said.returncode, said.stdout) == (0, f"migqual {migqual.__version__}\n")


def test_help_names_every_command(environment: dict[str, str]) -> None:
    """`--help` lists all commands, and every command module is one of them."""
    said = migqual_says(environment, "--help").stdout
    files = (places.ROOT / "lib" / "migqual" / "commands").glob("[a-z]*.py")

    assert {file.stem for file in files} == set(cli.COMMANDS)
    assert all(f"\n    {name}" in said for name in cli.COMMANDS)


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_every_command_explains_itself(environment: dict[str, str], name: str) -> None:
    """`migqual COMMAND --help` works for each of them."""
    said = migqual_says(environment, name, "--help")

    assert said.returncode == 0
    assert said.stdout.startswith(f"usage: migqual {name}")


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        ([], "the following arguments are required: COMMAND"),
        (["nonsense"], "invalid choice: 'nonsense'"),
        (["lab", "up", "--nonsense"], "unrecognized arguments: --nonsense"),
        (["lab", "up", "--topology", "nonsense"], "no topology named 'nonsense'"),
        (["lab", "down", "--name", "no/lab"], "cannot be the name of a lab"),
        (["lab", "exec", *NAMED, "--", "true"], "remedy: migqual lab up --name nosuchlab"),
        (["lab", "logs", *NAMED, "a1"], "no lab named 'nosuchlab'"),
        (["run", "--inventory", "nonsense.yml"], "nonsense.yml: 1 error"),
        (["run", "--profile", "nonsense"], "nonsense"),
        (["run", "--inventory", "a.yml", "--topology", "b"], "not allowed with"),
        (["run", *NAMED, "--nosuch"], "pytest: unrecognized arguments: --nosuch\n"),
        (["run", *NAMED, "nosuch.py::test"], "file or directory not found: nosuch.py"),
        (["run", *NAMED, "-k", "tls("], "Wrong expression passed to '-k': tls("),
        (["sweep", "nonsense.jsonl"], "nonsense.jsonl: no such journal"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_bad_input(environment: dict[str, str], words: list[str], complaint: str) -> None:
    """What cannot be used is named on standard error; exit code 2, no traceback."""
    said = migqual_says(environment, *words)

    assert said.returncode == 2
    assert complaint in said.stderr
    assert "Traceback" not in said.stderr


def test_debug_shows_where_an_error_came_from(environment: dict[str, str]) -> None:
    """MIGQUAL_DEBUG=1 adds the traceback, and changes nothing else."""
    said = migqual_says(environment | {cli.DEBUG: "1"}, "sweep", "nonsense.jsonl")

    assert said.returncode == 2
    assert "Traceback" in said.stderr


def test_status_of_no_lab(environment: dict[str, str]) -> None:
    """A lab that is not there is no error, but exit code 1."""
    said = migqual_says(environment, "lab", "status", *NAMED)

    assert (said.returncode, said.stdout.splitlines()[0]) == (1, "lab nosuchlab: absent")


def test_nothing_to_sweep(environment: dict[str, str]) -> None:
    """Without journals a sweep is done before it begins."""
    said = migqual_says(environment, "sweep")

    assert (said.returncode, said.stdout) == (
        0,
        "migqual: no journals: nothing was left on any host\n",
    )


INVENTORY = """\
all:
  vars:
    ansible_user: root
    migqual_known_hosts: {folder}/known_hosts
    migqual_pairs: [{{source: h1, destination: h2}}]
  children:
    hypervisors:
      hosts:
        h1: {{ansible_host: 192.0.2.1, migqual_service_bridge: br0}}
        h2: {{ansible_host: 192.0.2.2, migqual_service_bridge: br0}}
"""
# A session of pytest that leaves marks instead of testing, and takes its time to clean up.
CONFTEST = """\
import os, pathlib, signal
here = pathlib.Path(__file__).parent

def pytest_sessionstart(session):
    if session.config.option.collectonly:  # only the arguments are looked at
        return
    def stop(number, frame):
        with (here / "signals").open("a") as marks:
            marks.write(f"{number}\\n")
        raise KeyboardInterrupt
    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    (here / "begun").touch()
    signal.pause()
"""
# The command line, but for the question whether the hosts, which do not exist, can be reached.
UNASKED = """\
import sys
from migqual import cli
from migqual.commands import run
run._reach = lambda inventory: None
sys.exit(cli.main())
"""
AWAY = """\
all:
  vars:
    ansible_user: root
    migqual_known_hosts: {folder}/known_hosts
    migqual_pairs: [{{source: h1, destination: h2.lab}}]
  children:
    hypervisors:
      vars: {{migqual_service_bridge: br0, ansible_port: 1}}
      hosts:
        h1: {{ansible_host: 127.0.0.2, migqual_migration_address: 192.0.2.1}}
        h2.lab: {{ansible_host: 127.0.0.3, migqual_migration_address: 192.0.2.2}}
"""

TWO_PAIRS = """\
all:
  vars:
    ansible_user: root
    migqual_known_hosts: {folder}/known_hosts
    migqual_pairs: [{{source: h1, destination: h2}}, {{source: h3, destination: h4}}]
    migqual_client: c1
    migqual_stores: [{{name: nbd, kind: nbd, server: s1, directory: /srv/nbd}}]
  children:
    hypervisors:
      vars: {{migqual_service_bridge: br0}}
      hosts:
        h1: {{ansible_host: 192.0.2.1}}
        h2: {{ansible_host: 192.0.2.2}}
        h3: {{ansible_host: 192.0.2.3}}
        h4: {{ansible_host: 192.0.2.4}}
    others:
      hosts:
        c1: {{ansible_host: 192.0.2.5}}
        s1: {{ansible_host: 192.0.2.6}}
"""


@pytest.mark.parametrize(
    "words",
    [
        ["--topology", "nonsense"],
        ["--inventory", "nonsense.yml"],
        ["--profile", "nonsense"],
        ["--name", "no/lab"],
        [*NAMED, "--nosuch"],
    ],
    ids=" ".join,
)
def test_bad_input_leaves_the_last_report_alone(
    environment: dict[str, str], tmp_path: Path, words: list[str]
) -> None:
    """A slip of the pen costs nobody the report of the run before."""
    out = tmp_path / "out"
    (out / "records").mkdir(parents=True)
    kept = [out / name for name in ("verdict.json", "index.html", "records/test-1.json")]
    for file in kept:
        file.touch()

    assert migqual_says(environment, "run", f"--out={out}", *words).returncode == 2

    assert all(file.exists() for file in kept)


def test_hosts_that_are_away_are_told_before_any_test(
    environment: dict[str, str], tmp_path: Path
) -> None:
    """Both are named in one error; it is no fault of the input, and no verdict is left."""
    (tmp_path / "known_hosts").touch()
    inventory, out = tmp_path / "hosts.yml", tmp_path / "out"
    inventory.write_text(AWAY.format(folder=tmp_path))
    out.mkdir()
    old = [out / "verdict.json", out / "junit.xml"]
    for file in old:
        file.touch()

    said = migqual_says(environment, "run", f"--inventory={inventory}", f"--out={out}")

    assert said.returncode == 3
    assert "no pair can be tested: h1: SSH to root@127.0.0.2:1" in said.stderr
    assert "h2.lab: SSH to root@127.0.0.3:1" in said.stderr
    assert said.stdout == ""
    assert not any(file.exists() for file in old)


@pytest.mark.parametrize(
    ("away", "goes_on"),
    [([], True), (["h1"], True), (["h1", "h4"], False), (["c1"], False), (["s1"], False)],
    ids=str,
)
def test_one_pair_is_enough_to_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, away: list[str], *, goes_on: bool
) -> None:
    """But not without the client, or a host that serves a store: every test needs them."""
    (tmp_path / "known_hosts").touch()
    file = tmp_path / "hosts.yml"
    file.write_text(TWO_PAIRS.format(folder=tmp_path))
    refused = [Finding(f"{name}.ssh", Severity.REFUSED, f"{name} is away") for name in away]
    monkeypatch.setattr("migqual.hosts.reach.connect", lambda _inventory: refused)

    with nullcontext() if goes_on else pytest.raises(TroubleError, match=f"{away[-1]} is away"):
        run._reach(load_inventory(file))  # noqa: SLF001 - the hosts are made up


@pytest.fixture
def waiting_run(environment: dict[str, str], tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """`migqual run` with a pytest that waits for a signal."""
    inventory = tmp_path / "hosts.yml"
    (tmp_path / "known_hosts").touch()
    inventory.write_text(INVENTORY.format(folder=tmp_path))
    (tmp_path / "waits.py").write_text(CONFTEST.replace("__file__", repr(str(tmp_path / "x"))))
    argv = ["run", f"--inventory={inventory}", f"--out={tmp_path / 'out'}", "-p", "waits"]
    # whoever started us in the background may have had signals ignored, which is inherited
    as_in_a_terminal = ("env", "--default-signal=INT,HUP,TERM")
    process = subprocess.Popen(
        [*as_in_a_terminal, sys.executable, "-c", UNASKED, *argv],
        env=environment | {"PYTHONPATH": str(tmp_path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    with process:
        yield process
        process.kill()


@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130), (signal.SIGHUP, 129)]
)
def test_a_signal_reaches_pytest_once(
    waiting_run: subprocess.Popen[str], tmp_path: Path, number: signal.Signals, status: int
) -> None:
    """
    Whatever stops `migqual run`, pytest gets one SIGTERM, and its clean-up is waited for.

    Preconditions: the signal goes to the whole process group, as a terminal sends it.
    Expected: the exit code names the signal; no traceback.
    """
    Deadline(30.0).wait_for("pytest to begin", (tmp_path / "begun").exists)

    os.killpg(waiting_run.pid, number)
    said, _ = waiting_run.communicate(timeout=60)

    assert waiting_run.returncode == status, said
    assert (tmp_path / "signals").read_text().split() == [str(int(signal.SIGTERM))]
    assert "Traceback" not in said
