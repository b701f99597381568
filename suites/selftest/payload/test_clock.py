"""`migqual-payload clock` prints the wall clock once for every line that it reads."""

import subprocess
import time
from pathlib import Path

import pytest

pytestmark = pytest.mark.selftest


@pytest.mark.timeout(20)
def test_clock_answers_every_line_at_once(program: Path) -> None:
    """
    The command `migqual-payload clock` answers each input line at once with the current time.

    Expected: each printed time is between the time before the test sends the line and the time
    after the test reads the answer. At the end of the input, the exit status is 0.
    """
    with subprocess.Popen(
        [program, "clock"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        for _ in range(3):
            sent_ns = time.time_ns()
            process.stdin.write("\n")
            process.stdin.flush()
            clock_ns = int(process.stdout.readline())
            assert sent_ns <= clock_ns <= time.time_ns()
        process.stdin.close()
        assert process.wait() == 0
