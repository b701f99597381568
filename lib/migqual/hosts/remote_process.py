"""A command that runs on a host, with the caller at its input and output."""

import threading
from collections.abc import Iterator
from contextlib import suppress

import paramiko

from migqual.hosts.ssh_login import CONNECT_SECONDS


class RemoteProcess:
    """A running command on a host. The caller reads lines of output and sends lines of input.

    `kill` or the end of the `Shell.start` block closes the channel. The lines come from standard
    output only, because a program may write log lines to standard error at any time.
    """

    def __init__(self, channel: paramiko.Channel) -> None:
        self._channel = channel
        self._lines = channel.makefile("r", -1)
        self._stderr_chunks: list[bytes] = []
        self._stderr_reader = threading.Thread(
            target=drain_stderr, args=(channel, self._stderr_chunks), daemon=True
        )
        self._stderr_reader.start()

    def __iter__(self) -> Iterator[str]:
        """Yield each line of the standard output when the line arrives."""
        for line in self._lines:
            yield line if isinstance(line, str) else line.decode(errors="replace")

    def send_line(self, line: str) -> None:
        """Send a line to the command's standard input; ignore a closed channel."""
        with suppress(OSError):
            self._channel.sendall(f"{line}\n".encode())

    def read_first_line(self) -> str:
        """Wait for the first line on standard output, which a command prints when it is ready.

        Returns:
            The line without white space at the ends. If the command ends without output, the
            result is the last line of standard error, or an empty text.
        """
        if first_line := next(iter(self), "").strip():
            return first_line
        self._stderr_reader.join(CONNECT_SECONDS)
        error_lines = b"".join(self._stderr_chunks).decode(errors="replace").strip().splitlines()
        return error_lines[-1] if error_lines else ""

    def close_stdin(self) -> None:
        """Close the command's standard input, as a request to end the command."""
        with suppress(OSError):
            self._channel.shutdown_write()

    def kill(self) -> None:
        """Close the channel at once, without a wait for the command."""
        self._channel.close()


def drain_stderr(channel: paramiko.Channel, chunks: list[bytes]) -> None:
    """Read the standard error of a command to the end, and append the bytes to `chunks`."""
    with suppress(OSError):
        while chunk := channel.recv_stderr(65536):
            chunks.append(chunk)
