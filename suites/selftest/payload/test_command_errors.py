"""The payload refuses invalid commands with a reason; changed sources are compiled again."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from migqual.deadline import Deadline
from migqual.errors import LabError
from migqual.image.payload import compute_payload_key, ensure_payload
from suites.selftest.support.payload_daemon import PayloadDaemon, run_payload_daemon

pytestmark = pytest.mark.selftest


@pytest.fixture(scope="module")
def shared_daemon(
    program: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[PayloadDaemon]:
    with run_payload_daemon(program, tmp_path_factory.mktemp("daemon")) as payload_daemon:
        yield payload_daemon


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
        ("memory start a color=pink", "not understood: color=pink"),
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
def test_invalid_command_is_refused_with_the_reason(
    shared_daemon: PayloadDaemon, command: str, reason: str
) -> None:
    """
    The payload refuses an invalid command, for example an unknown name or a value out of range.

    Expected: exit status 1, `ok` false, and the reason. The payload starts no memory region and
    no disk writer.
    """
    assert reason in shared_daemon.expect_error(command)
    status = shared_daemon.run_command("status")
    assert (status["memory"], status["disks"]) == ([], [])


def test_region_name_is_unique_until_freed(shared_daemon: PayloadDaemon) -> None:
    """
    The name of a memory region cannot be used again until the region is freed.

    Expected: the name of a running or stopped region is refused; the name of a freed region is
    accepted.
    """
    shared_daemon.run_command("memory start a mib=1")
    assert "of this name is there" in shared_daemon.expect_error("memory start a mib=1")
    shared_daemon.run_command("memory stop a")
    assert "stopped" in shared_daemon.expect_error("memory rate a rate_mib_s=1")
    shared_daemon.run_command("memory free a")
    shared_daemon.run_command("memory start a mib=1")
    shared_daemon.run_command("memory free a")


def test_cpu_work_is_counted(shared_daemon: PayloadDaemon) -> None:
    """
    CPU work continues until the stop; the counter keeps the value afterwards.

    Expected: more iterations while the work runs; no more iterations after the stop.
    """
    shared_daemon.run_command("work start threads=1")
    first_status = shared_daemon.run_command("work status")
    Deadline(5).wait_for(
        "work",
        lambda: shared_daemon.run_command("work status")["iterations"] > first_status["iterations"],
    )
    stop_reply = shared_daemon.run_command("work stop")
    assert shared_daemon.run_command("work status")["iterations"] == stop_reply["iterations"] > 0


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["nonsense"],
        ["watch"],
        ["watch", "--address", "nowhere"],
        ["watch", "--address", "[::1]"],
        ["watch", "--address", "127.0.0.1", "--interval-us", "1"],
        ["watch", "--address", "127.0.0.1", "--loud"],
        ["flip", "--pid", "1"],
        ["flip", "--pid", "1", "--marker", "zz"],
        ["search", "--marker", "00" * 16],
        ["tcp", "connect", "127.0.0.1", "0"],
        ["tcp", "listen", "nowhere", "1"],
        ["wire", "--here", "::1", "--there", "127.0.0.1"],
        ["l2", "send", "lo"],
        ["serve", "--port", "70000"],
        ["powerkey", "--delay"],
    ],
    ids=" ".join,
)
def test_invalid_options_exit_with_status_2(
    shared_daemon: PayloadDaemon, arguments: list[str]
) -> None:
    """
    If a subcommand of migqual-payload gets invalid arguments, the program prints the reason.

    Expected: exit status 2 and a message on standard error.
    """
    result = shared_daemon.run_subcommand(*arguments)
    assert (result.returncode, bool(result.stderr)) == (2, True)


def test_ctl_without_daemon_prints_a_json_error(
    shared_daemon: PayloadDaemon, tmp_path: Path
) -> None:
    """
    If no daemon runs, the subcommand `ctl` prints the error as JSON.

    Expected: exit status 1 and a reason with the path of the socket.
    """
    result = shared_daemon.run_subcommand("ctl", "--socket", str(tmp_path / "none"), "status")
    assert result.returncode == 1
    assert '"ok":false' in result.stdout
    assert str(tmp_path / "none") in result.stdout


def test_payload_is_recompiled_when_sources_change(tmp_path: Path) -> None:
    """
    The file name of the compiled payload in the cache contains a key that depends on the sources.

    Expected: after the removal of a single byte from a source file, the key is different. The
    source file is now broken, so the compilation fails with the compiler's message.
    """
    source = tmp_path / "main.c"
    source.write_text("int main(void) { return 0; }\n")
    key_before = compute_payload_key(tmp_path)
    program = ensure_payload(tmp_path / "cache", lambda _: None, sources=tmp_path)
    source.write_text("int main(void) { return 0 }\n")
    assert compute_payload_key(tmp_path) != key_before
    with pytest.raises(LabError, match=r"expected ';'"):
        ensure_payload(tmp_path / "cache", lambda _: None, sources=tmp_path)
    assert list((tmp_path / "cache" / "payload").glob("m*")) == [program]


def test_missing_compiler_error_has_a_remedy(tmp_path: Path) -> None:
    """
    On a machine without a compiler the error names the package to install.

    Expected: `LabError` with a remedy.
    """
    with pytest.raises(LabError, match="the C compiler") as error_info:
        ensure_payload(tmp_path, lambda _: None, compiler="migqual-no-such-compiler")
    assert "apt-get install gcc" in error_info.value.remedy
