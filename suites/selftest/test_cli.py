"""The command line reports an error as a message and an exit code, never as a traceback."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from pathlib import Path

import pytest

import migqual
from migqual import cli, paths
from migqual.commands import run
from migqual.deadline import Deadline
from migqual.errors import TroubleError
from migqual.inventory.entities import Inventory
from migqual.inventory.file import load_inventory
from migqual.inventory.guest_size import GuestSize
from migqual.model.finding import Finding, Severity

pytestmark = pytest.mark.selftest

MIGQUAL_COMMAND = [sys.executable, "-m", "migqual.cli"]
ABSENT_LAB_OPTION = ["--name", "nosuchlab"]


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """Return the environment of a machine without labs, caches and journals."""
    migqual_variables = {
        f"MIGQUAL_{name}": str(tmp_path / name.lower()) for name in ("STATE", "CACHE", "LABS")
    }
    return {
        name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ
    } | migqual_variables


def run_migqual(environment: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*MIGQUAL_COMMAND, *arguments],
        env=environment,
        cwd=paths.ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_version(environment: dict[str, str]) -> None:
    """`--version` prints the program name and the version."""
    result = run_migqual(environment, "--version")

    assert (result.returncode, result.stdout) == (0, f"migqual {migqual.__version__}\n")


def test_help_lists_every_command(environment: dict[str, str]) -> None:
    """`--help` lists every command, and every command module belongs to a listed command."""
    help_text = run_migqual(environment, "--help").stdout
    files = (paths.ROOT / "lib" / "migqual" / "commands").glob("[a-z]*.py")

    assert {file.stem for file in files} == set(cli.COMMANDS)
    assert all(f"\n    {name}" in help_text for name in cli.COMMANDS)


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_every_command_has_help(environment: dict[str, str], name: str) -> None:
    """`migqual COMMAND --help` prints the usage of each command."""
    result = run_migqual(environment, name, "--help")

    assert result.returncode == 0
    assert result.stdout.startswith(f"usage: migqual {name}")


@pytest.mark.parametrize(
    ("arguments", "error_text"),
    [
        ([], "the following arguments are required: COMMAND"),
        (["nonsense"], "invalid choice: 'nonsense'"),
        (["lab", "up", "--nonsense"], "unrecognized arguments: --nonsense"),
        (["lab", "up", "--topology", "nonsense"], "no topology named 'nonsense'"),
        (["lab", "down", "--name", "no/lab"], "cannot be the name of a lab"),
        (
            ["lab", "exec", *ABSENT_LAB_OPTION, "--", "true"],
            "remedy: migqual lab up --name nosuchlab",
        ),
        (["lab", "logs", *ABSENT_LAB_OPTION, "a1"], "no lab named 'nosuchlab'"),
        (["run", "--inventory", "nonsense.yml"], "nonsense.yml: 1 error"),
        (["run", "--profile", "nonsense"], "nonsense"),
        (["run", "--guest", "mips"], "'mips': choose one of: x86_64, aarch64"),
        (["run", "--inventory", "a.yml", "--guest", "aarch64"], "migqual_guest_architecture"),
        (["run", "--inventory", "a.yml", "--topology", "b"], "not allowed with"),
        (["run", *ABSENT_LAB_OPTION, "--nosuch"], "pytest: unrecognized arguments: --nosuch\n"),
        (["run", *ABSENT_LAB_OPTION, "nosuch.py::test"], "file or directory not found: nosuch.py"),
        (["run", *ABSENT_LAB_OPTION, "-k", "tls("], "Wrong expression passed to '-k': tls("),
        (["sweep", "nonsense.jsonl"], "nonsense.jsonl: no such journal"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_bad_input(environment: dict[str, str], arguments: list[str], error_text: str) -> None:
    """Bad input gives a message on standard error, exit code 2 and no traceback."""
    result = run_migqual(environment, *arguments)

    assert result.returncode == 2
    assert error_text in result.stderr
    assert "Traceback" not in result.stderr


def test_debug_shows_the_traceback(environment: dict[str, str]) -> None:
    """MIGQUAL_DEBUG=1 adds the traceback; the exit code stays the same."""
    result = run_migqual(environment | {cli.DEBUG_VARIABLE: "1"}, "sweep", "nonsense.jsonl")

    assert result.returncode == 2
    assert "Traceback" in result.stderr


def test_status_of_an_absent_lab(environment: dict[str, str]) -> None:
    """`migqual lab status` of an absent lab prints `absent` and ends with exit code 1."""
    result = run_migqual(environment, "lab", "status", *ABSENT_LAB_OPTION)

    assert (result.returncode, result.stdout.splitlines()[0]) == (1, "lab nosuchlab: absent")


def test_sweep_without_journals(environment: dict[str, str]) -> None:
    """Without journals `migqual sweep` has no work and succeeds."""
    result = run_migqual(environment, "sweep")

    assert (result.returncode, result.stdout) == (
        0,
        "migqual: there is no journal, so no run left an object on a host\n",
    )


ONE_PAIR_INVENTORY = """\
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
# A pytest plugin: instead of running tests, pytest waits for a signal and writes the number of
# every received signal to a file.
WAITING_PLUGIN = """\
import os, pathlib, signal
folder = pathlib.Path(__file__).parent

def pytest_sessionstart(session):
    if session.config.option.collectonly:  # only the arguments are checked
        return
    def stop(number, frame):
        with (folder / "signals").open("a") as signal_log:
            signal_log.write(f"{number}\\n")
        raise KeyboardInterrupt
    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    (folder / "begun").touch()
    signal.pause()
"""
# The command line without the check of the hosts: the hosts of the inventory do not exist.
RUN_WITHOUT_HOST_CHECK = """\
import sys
from migqual import cli
from migqual.commands import run
run._check_hosts = lambda inventory, guest_sizes: None
sys.exit(cli.main())
"""
UNREACHABLE_INVENTORY = """\
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


@pytest.mark.parametrize(
    "arguments",
    [
        ["--topology", "nonsense"],
        ["--inventory", "nonsense.yml"],
        ["--profile", "nonsense"],
        ["--name", "no/lab"],
        [*ABSENT_LAB_OPTION, "--nosuch"],
    ],
    ids=" ".join,
)
def test_bad_input_keeps_the_last_report(
    environment: dict[str, str], tmp_path: Path, arguments: list[str]
) -> None:
    """Bad input does not delete the report of the previous run."""
    out = tmp_path / "out"
    (out / "records").mkdir(parents=True)
    report_files = [out / name for name in ("verdict.json", "index.html", "records/test-1.json")]
    for file in report_files:
        file.touch()

    assert run_migqual(environment, "run", f"--out={out}", *arguments).returncode == 2

    assert all(file.exists() for file in report_files)


def test_unreachable_hosts_are_reported_before_any_test(
    environment: dict[str, str], tmp_path: Path
) -> None:
    """Unreachable hosts are reported together, before any test runs.

    The input is not at fault, so the exit code is 3. The old verdict is deleted.
    """
    (tmp_path / "known_hosts").touch()
    inventory, out = tmp_path / "hosts.yml", tmp_path / "out"
    inventory.write_text(UNREACHABLE_INVENTORY.format(folder=tmp_path))
    out.mkdir()
    old_report_files = [out / "verdict.json", out / "junit.xml"]
    for file in old_report_files:
        file.touch()

    result = run_migqual(environment, "run", f"--inventory={inventory}", f"--out={out}")

    assert result.returncode == 3
    assert "no test ran: h1.ssh: h1: SSH to root@127.0.0.2:1" in result.stderr
    assert "h2.lab.ssh: h2.lab: SSH to root@127.0.0.3:1" in result.stderr
    assert result.stdout == ""
    assert not any(file.exists() for file in old_report_files)


@pytest.mark.parametrize("severity", list(Severity))
def test_run_does_not_start_on_a_refusal(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    severity: Severity,
) -> None:
    """`migqual run` starts no test if a check of the inventory refuses a host.

    A warning, or a check that could not be done, is printed, and the run continues.
    """
    (tmp_path / "known_hosts").touch()
    file = tmp_path / "hosts.yml"
    file.write_text(ONE_PAIR_INVENTORY.format(folder=tmp_path))
    monkeypatch.setattr(
        "migqual.readiness.inventory_check.check_inventory_hosts",
        lambda *_: (Finding("h1.bridge", severity, "h1 has no bridge br0"),),
    )
    is_refused = severity is Severity.REFUSED

    with (
        pytest.raises(TroubleError, match=r"no test ran: h1\.bridge: h1 has no bridge")
        if is_refused
        else nullcontext()
    ):
        run._check_hosts(load_inventory(file), ())  # noqa: SLF001 - the hosts are made up

    is_printed = "h1.bridge" in capsys.readouterr().out
    assert is_printed is (severity in {Severity.WARNING, Severity.UNKNOWN})


def test_run_removes_leftovers_before_it_checks_the_hosts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The leftovers are removed first: the check refuses addresses that a leftover guest uses."""
    (tmp_path / "known_hosts").touch()
    file = tmp_path / "hosts.yml"
    file.write_text(ONE_PAIR_INVENTORY.format(folder=tmp_path))
    calls: list[object] = []

    def refuse(_inventory: Inventory, _guest_sizes: Sequence[GuestSize]) -> None:
        calls.append("check")
        raise TroubleError("not ready")

    monkeypatch.setattr(run, "_check_hosts", refuse)
    monkeypatch.setattr(
        "migqual.commands._run_target.Cleanup.sweep",
        lambda cleanup: calls.append(cleanup.inventories),
    )

    exit_code = cli.main(["run", f"--inventory={file}", f"--out={tmp_path / 'out'}"])

    assert exit_code == 3
    assert calls == [[file], "check"]


@pytest.fixture
def waiting_run(environment: dict[str, str], tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """Yield a `migqual run` process whose pytest waits for a signal."""
    inventory = tmp_path / "hosts.yml"
    (tmp_path / "known_hosts").touch()
    inventory.write_text(ONE_PAIR_INVENTORY.format(folder=tmp_path))
    (tmp_path / "waits.py").write_text(
        WAITING_PLUGIN.replace("__file__", repr(str(tmp_path / "x")))
    )
    argv = ["run", f"--inventory={inventory}", f"--out={tmp_path / 'out'}", "-p", "waits"]
    # A background process may start with ignored signals, and child processes inherit ignored
    # signals: `env` resets the signals to the default.
    default_signals = ("env", "--default-signal=INT,HUP,TERM")
    process = subprocess.Popen(
        [*default_signals, sys.executable, "-c", RUN_WITHOUT_HOST_CHECK, *argv],
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
    ("signal_number", "exit_status"),
    [(signal.SIGTERM, 143), (signal.SIGINT, 130), (signal.SIGHUP, 129)],
)
def test_a_signal_reaches_pytest_once(
    waiting_run: subprocess.Popen[str],
    tmp_path: Path,
    signal_number: signal.Signals,
    exit_status: int,
) -> None:
    """
    A signal to `migqual run` reaches pytest as a single SIGTERM, and `migqual run` waits for
    the clean-up of pytest.

    Preconditions: the signal goes to the whole process group, as from a terminal.
    Expected: the exit code names the signal; no traceback.
    """
    Deadline(30.0).wait_for("pytest to begin", (tmp_path / "begun").exists)

    os.killpg(waiting_run.pid, signal_number)
    output, _ = waiting_run.communicate(timeout=60)

    assert waiting_run.returncode == exit_status, output
    assert (tmp_path / "signals").read_text().split() == [str(int(signal.SIGTERM))]
    assert "Traceback" not in output
