"""The payload command `census`, run on a host, inspects the memory of a guest."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from migqual.predict.guest_measurement import parse_memory_sample

pytestmark = pytest.mark.selftest

MAP_MIB = 37
# A mapping of MAP_MIB: 4 MiB hold random data, 2 MiB hold zeros, the first MiB is rewritten all
# the time.
WRITER_PROGRAM = f"""\
import mmap, os
room = mmap.mmap(-1, {MAP_MIB} << 20)
room[: 4 << 20] = os.urandom(4 << 20)
room[4 << 20 : 6 << 20] = bytes(2 << 20)
print("ready", flush=True)
turn = 0
while True:
    turn += 1
    for at in range(0, 1 << 20, 4096):
        room[at : at + 8] = turn.to_bytes(8, "little")
"""


@pytest.fixture
def writer_pid() -> Iterator[int]:
    """Start the writer program and yield the process id."""
    argv = [sys.executable, "-c", WRITER_PROGRAM]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        yield process.pid
        process.kill()


def run_census(program: Path, pid: int, *options: str) -> "subprocess.CompletedProcess[str]":
    argv = [str(program), "census", "--pid", str(pid), *options]
    return subprocess.run(argv, capture_output=True, text=True, check=False)


def test_census_counts_nonzero_and_dirtied_memory(program: Path, writer_pid: int) -> None:
    """
    The payload command `census` counts the non-zero memory and the memory changed in a window.

    Preconditions: a program writes 4 MiB of random data and 2 MiB of zeros. The program rewrites
    1 MiB all the time.
    Expected: 4 MiB are not zero. 1 MiB changes in the window of 100 ms, and also in the window of
    300 ms. On a busy machine, the first window may last as long as the second window. The result
    then has one entry for both windows.
    """
    result = run_census(program, writer_pid, "--kib", str(MAP_MIB << 10), "--windows", "100,300")
    sample = parse_memory_sample(result.stdout)

    assert sample.nonzero_mib == 4.0
    assert set(sample.dirtied_mib_by_seconds.values()) == {1.0}
    assert min(sample.dirtied_mib_by_seconds) >= 0.1
    assert max(sample.dirtied_mib_by_seconds) >= 0.3


def test_census_estimates_from_sampled_pages(program: Path, writer_pid: int) -> None:
    """
    The payload command `census` estimates the dirtied memory from a sample of 500 pages.

    Preconditions: a program writes 4 MiB of random data and 2 MiB of zeros, together 1536 pages.
    The program rewrites 1 MiB all the time.
    Expected: the estimate of the dirtied memory differs from 1 MiB by at most 0.4 MiB, which is
    four standard deviations. The non-zero memory is exactly 4 MiB.
    """
    argv = ("--kib", str(MAP_MIB << 10), "--windows", "100", "--samples", "500")
    sample = parse_memory_sample(run_census(program, writer_pid, *argv).stdout)

    (dirtied_mib,) = sample.dirtied_mib_by_seconds.values()
    assert sample.nonzero_mib == 4.0
    assert dirtied_mib == pytest.approx(1.0, abs=0.4)


def test_census_without_matching_map_fails(program: Path, writer_pid: int) -> None:
    result = run_census(program, writer_pid, "--kib", str((MAP_MIB + 3) << 10))

    assert (result.returncode, result.stdout) == (3, "")
    assert "no map" in result.stderr


@pytest.mark.parametrize("windows", ["0", "200,100", "100,", "1,x", ",", "5000000000"])
def test_census_invalid_windows_are_refused(program: Path, windows: str) -> None:
    result = run_census(program, 1, "--kib", "1024", "--windows", windows)

    assert (result.returncode, result.stdout) == (2, "")
    assert "--windows" in result.stderr


def test_census_window_without_pages_is_zero() -> None:
    assert parse_memory_sample("0 0 0\n100000 0\n").dirtied_mib_by_seconds == {0.1: 0.0}
