"""Run the gap meter of the payload for a test, and read the output of the gap meter."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager


class MeterProcess:
    """A running gap meter and its output lines so far, each as a list of words.

    The gap meter is the command `watch` of the payload: the command sends probes to a guest and
    prints the replies.
    """

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.lines: list[list[str]] = []

    def send_command(self, command: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{command}\n")
        self.process.stdin.flush()

    def read_until(self, first_word: str) -> list[str]:
        """Read output until a line begins with `first_word`; return the words of the line."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(line.split())
            if self.lines[-1][0] == first_word:
                return self.lines[-1]
        raise AssertionError(f"gap meter ended without a line {first_word!r}: {self.lines[-3:]}")

    def select_lines(self, first_word: str) -> list[list[str]]:
        return [line for line in self.lines if line[0] == first_word]


@contextmanager
def run_meter_process(*argv: str) -> Iterator[MeterProcess]:
    """Run a gap meter on this machine during the `with` block.

    The gap meter is a program that sends probes to a guest and records the replies.

    Args:
        argv: The command line of the gap meter, for example `PROGRAM watch --address 127.0.0.1`.
    """
    with subprocess.Popen(
        argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            yield MeterProcess(process)
        finally:
            process.kill()
