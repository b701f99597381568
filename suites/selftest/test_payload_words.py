"""What the guest's daemon does not understand it refuses, with a reason."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from migqual.deadline import Deadline
from migqual.errors import LabError
from migqual.image.payload import ensure_payload, payload_key
from suites.selftest.payload_daemon import Daemon, serving

pytestmark = pytest.mark.selftest


@pytest.fixture(scope="module")
def daemon(program: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    with serving(program, tmp_path_factory.mktemp("daemon")) as running:
        yield running


@pytest.mark.parametrize(
    ("command", "reason"),
    [
        ("", "missing: a command"),
        ("frobnicate", "not a command: frobnicate"),
        ("zero-free", "missing: mib="),
        ("zero-free mib=0", "mib=0: not a number from 1"),
        ("memory", "missing: start, verify"),
        ("memory grow a", "memory grow: not a command"),
        ("memory start", "missing: a name"),
        ("memory start a/b", "bad name"),
        (f"memory start {'n' * 32}", "bad name"),
        ("memory start a mib=0", "mib=0: not a number from 1"),
        ("memory start a mib=-1", "mib=-1: not a number"),
        ("memory start a mib=1x", "mib=1x: not a number"),
        ("memory start a mib=99999999999999999999999", "not a number"),
        ("memory start a mib=", "mib=: not a number"),
        ("memory start a mib=1 mib=2", "mib: given twice"),
        ("memory start a content=pink", "content=pink: not a choice"),
        ("memory start a colour=pink", "not understood: colour=pink"),
        ("memory start a b", "not understood: b"),
        ("memory start a mib=1048576", "not enough memory"),
        ("memory verify nobody", "nobody: no such region"),
        ("disk start d device=/nowhere", "/nowhere: No such file"),
        ("disk start d block_kib=5", "not a multiple of 4"),
        ("disk start d rate_per_s=0", "rate_per_s=0"),
        ("disk start d block_kib=4096 span_mib=1", "smaller than one block"),
        ("disk verify nobody", "nobody: no such disk"),
        ("work start threads=0", "threads=0: not a number from 1"),
        ("work status now", "not understood: now"),
        ("status all", "not understood: all"),
    ],
)
def test_a_bad_command_is_refused_with_its_reason(
    daemon: Daemon, command: str, reason: str
) -> None:
    """
    Unknown commands, names, keys and values out of range are errors, and change nothing.

    Expected: exit status 1, `ok` false, the reason; nothing started.
    """
    assert reason in daemon.refuse(command)
    status = daemon.ask("status")
    assert (status["memory"], status["disks"]) == ([], [])


def test_a_name_is_taken_once_and_free_again(daemon: Daemon) -> None:
    """
    A region's name cannot be used twice, until the region is freed.

    Expected: refused, then accepted.
    """
    daemon.ask("memory start a mib=1")
    assert "of this name is there" in daemon.refuse("memory start a mib=1")
    daemon.ask("memory stop a")
    assert "stopped" in daemon.refuse("memory rate a rate_mib_s=1")
    daemon.ask("memory free a")
    daemon.ask("memory start a mib=1")
    daemon.ask("memory free a")


def test_work_is_counted(daemon: Daemon) -> None:
    """
    CPU work goes on while it runs, and its counter stays once it is stopped.

    Expected: more iterations later; equal ones after the end.
    """
    daemon.ask("work start threads=1")
    first = daemon.ask("work status")
    Deadline(5).wait_for(
        "work", lambda: daemon.ask("work status")["iterations"] > first["iterations"]
    )
    stopped = daemon.ask("work stop")
    assert daemon.ask("work status")["iterations"] == stopped["iterations"] > 0


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["nonsense"],
        ["watch"],
        ["watch", "--address", "::1"],
        ["watch", "--address", "127.0.0.1", "--interval-us", "1"],
        ["watch", "--address", "127.0.0.1", "--loud"],
        ["flip", "--pid", "1"],
        ["flip", "--pid", "1", "--marker", "zz"],
        ["search", "--marker", "00" * 16],
        ["tcp", "connect", "127.0.0.1", "0"],
        ["tcp", "listen", "nowhere", "1"],
        ["l2", "send", "lo"],
        ["serve", "--port", "70000"],
        ["powerkey", "--delay"],
    ],
    ids=" ".join,
)
def test_bad_options_end_with_status_2_and_a_reason(daemon: Daemon, words: list[str]) -> None:
    """
    A subcommand that is called wrongly does nothing and says why.

    Expected: exit status 2 and words on standard error.
    """
    done = daemon.tool(*words)
    assert (done.returncode, bool(done.stderr)) == (2, True)


def test_no_daemon_is_an_error_in_json(daemon: Daemon, tmp_path: Path) -> None:
    """
    Without a daemon the client still answers in JSON.

    Expected: exit status 1 and a reason with the socket's path.
    """
    done = daemon.tool("ctl", "--socket", str(tmp_path / "none"), "status")
    assert done.returncode == 1
    assert '"ok":false' in done.stdout
    assert str(tmp_path / "none") in done.stdout


def test_the_program_is_compiled_anew_when_its_sources_change(tmp_path: Path) -> None:
    """
    The cache's name for the program follows from its sources.

    Expected: another key for one more byte; a broken source is the compiler's own words.
    """
    source = tmp_path / "main.c"
    source.write_text("int main(void) { return 0; }\n")
    before = payload_key(tmp_path)
    first = ensure_payload(tmp_path / "cache", lambda _: None, sources=tmp_path)
    source.write_text("int main(void) { return 0 }\n")
    assert payload_key(tmp_path) != before
    with pytest.raises(LabError, match=r"expected ';'"):
        ensure_payload(tmp_path / "cache", lambda _: None, sources=tmp_path)
    assert list((tmp_path / "cache" / "payload").glob("m*")) == [first]


def test_no_compiler_is_one_clear_error(tmp_path: Path) -> None:
    """
    A machine without a compiler is told what to install.

    Expected: `LabError` with a remedy.
    """
    with pytest.raises(LabError, match="no C compiler") as caught:
        ensure_payload(tmp_path, lambda _: None, compiler="migqual-no-such-compiler")
    assert "apt-get install gcc" in caught.value.remedy
