"""`migqual-payload clock` prints the wall clock once for every line that it reads."""

import subprocess
import time
from pathlib import Path

import pytest

pytestmark = pytest.mark.selftest


@pytest.mark.timeout(20)
def test_clock_answers_every_line_at_once(program: Path) -> None:
    """Each reply is between the times of the request and of the reply; the end of input ends it."""
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
