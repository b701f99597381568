"""Run a guest's payload daemon on the local machine, without a guest, for payload tests."""

import json
import os
import socket
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PAGE_BYTES = 4096


@dataclass(frozen=True)
class PayloadDaemon:
    """A running payload daemon: program, control socket, session port, and process ID."""

    program: Path
    socket_path: Path
    port: int
    pid: int

    def run_command_unchecked(self, *arguments: str) -> tuple[int, dict[str, Any]]:
        """Send a control command to the daemon; return the exit status and the reply."""
        argv = [str(self.program), "ctl", "--socket", str(self.socket_path), *arguments]
        result = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
        return result.returncode, json.loads(result.stdout)

    def run_command(self, command: str) -> dict[str, Any]:
        """Send a control command, assert that the daemon executes the command; return the reply."""
        status, reply = self.run_command_unchecked(*command.split())
        assert (status, reply["ok"]) == (0, True), reply
        return reply

    def expect_error(self, command: str) -> str:
        """Send a control command, assert that the daemon refuses the command; return the error."""
        status, reply = self.run_command_unchecked(*command.split())
        assert (status, reply["ok"]) == (1, False), reply
        return str(reply["error"])

    def run_subcommand(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run another subcommand of the payload program."""
        argv = [str(self.program), *arguments]
        return subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)

    def read_memory(self, address: int, size: int = PAGE_BYTES) -> bytes:
        """Read the memory of the payload daemon's process at `address`, through /proc/PID/mem."""
        descriptor = os.open(f"/proc/{self.pid}/mem", os.O_RDONLY)
        try:
            return os.pread(descriptor, size, address)
        finally:
            os.close(descriptor)

    def write_memory(self, address: int, data: bytes) -> None:
        descriptor = os.open(f"/proc/{self.pid}/mem", os.O_RDWR)
        try:
            assert os.pwrite(descriptor, data, address) == len(data)
        finally:
            os.close(descriptor)


@contextmanager
def run_payload_daemon(
    program: Path, folder: Path, *options: str, launcher: Sequence[str] = ()
) -> Iterator[PayloadDaemon]:
    """Run the payload daemon of a guest on the local machine, without a guest.

    The daemon uses a free port, and its control socket is in `folder`. `launcher` is the beginning
    of the command, for example to run the daemon in another namespace.
    """
    with socket.socket() as port_finder:
        port_finder.bind(("127.0.0.1", 0))
        port = port_finder.getsockname()[1]
    socket_path = folder / "s"
    serve_command = (str(program), "serve", "--port", str(port), "--socket", str(socket_path))
    argv = [*launcher, *serve_command, *options]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            yield PayloadDaemon(program, socket_path, port, process.pid)
        finally:
            process.kill()
