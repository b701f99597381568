"""The guest's daemon, run here without a guest: what the tests of the payload speak to."""

import json
import os
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PAGE = 4096


@dataclass(frozen=True)
class Daemon:
    """One running daemon: its program, control socket, session port, and process id."""

    program: Path
    socket: Path
    port: int
    pid: int

    def raw(self, *words: str) -> tuple[int, dict[str, Any]]:
        """Exit status and reply of one command."""
        argv = [str(self.program), "ctl", "--socket", str(self.socket), *words]
        done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
        return done.returncode, json.loads(done.stdout)

    def ask(self, command: str) -> dict[str, Any]:
        """The reply to `command`, which must succeed."""
        status, reply = self.raw(*command.split())
        assert (status, reply["ok"]) == (0, True), reply
        return reply

    def refuse(self, command: str) -> str:
        """The error of `command`, which must fail."""
        status, reply = self.raw(*command.split())
        assert (status, reply["ok"]) == (1, False), reply
        return str(reply["error"])

    def tool(self, *words: str) -> subprocess.CompletedProcess[str]:
        """One of the program's other subcommands."""
        argv = [str(self.program), *words]
        return subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)

    def peek(self, address: int, size: int = PAGE) -> bytes:
        """What the daemon's memory holds there, read from outside as a hypervisor would."""
        descriptor = os.open(f"/proc/{self.pid}/mem", os.O_RDONLY)
        try:
            return os.pread(descriptor, size, address)
        finally:
            os.close(descriptor)

    def poke(self, address: int, data: bytes) -> None:
        descriptor = os.open(f"/proc/{self.pid}/mem", os.O_RDWR)
        try:
            assert os.pwrite(descriptor, data, address) == len(data)
        finally:
            os.close(descriptor)


@contextmanager
def serving(program: Path, folder: Path, *options: str) -> Iterator[Daemon]:
    """A daemon on a free port, with its socket in `folder`."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    at = folder / "s"
    argv = [str(program), "serve", "--port", str(port), "--socket", str(at), *options]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            yield Daemon(program, at, port, process.pid)
        finally:
            process.kill()
