"""Commands and files on a host, over SSH (paramiko).

Argument vectors only: they are quoted once, here. A lost connection is re-opened once per call.
"""

import io
import shlex
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Self

import paramiko

from migqual.deadline import Deadline
from migqual.errors import CommandFailed, ConnectionLost, TimedOut
from migqual.hosts.login import CONNECT_SECONDS, Way, login, lost, words_of
from migqual.model.inventory import Host

COMMAND_SECONDS = 120.0
NO_STATUS = -1  # what paramiko returns when the server sent none


@dataclass(frozen=True)
class Completed:
    """A command that has ended."""

    argv: tuple[str, ...]
    status: int
    stdout: str
    stderr: str


class Process:
    """A command that runs: lines out, lines in. Ends with `stop`."""

    def __init__(self, channel: paramiko.Channel) -> None:
        self._channel = channel
        self._lines = channel.makefile("r", -1)

    def __iter__(self) -> Iterator[str]:
        """Lines of its standard output as they come."""
        for line in self._lines:
            yield line if isinstance(line, str) else line.decode(errors="replace")

    def send(self, line: str) -> None:
        with suppress(OSError):
            self._channel.sendall(f"{line}\n".encode())

    def close(self) -> None:
        """End of its standard input; a well-behaved command ends."""
        with suppress(OSError):
            self._channel.shutdown_write()

    def kill(self) -> None:
        self._channel.close()


class Shell:
    """One SSH connection. Thread-safe: each command has a channel of its own."""

    def __init__(self, host: Host) -> None:
        self.host = host
        self._client: paramiko.SSHClient | None = None
        self._way = Way(host)
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        self.open()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def open(self) -> None:
        """Log in, if that has not been done. Raises `ConnectionLost`."""
        self._connected()

    def close(self) -> None:
        if self._client is not None:
            self._client.close()
        self._client = None
        self._way.close()

    def run(
        self, *argv: str | PurePosixPath, stdin: bytes = b"", seconds: float = COMMAND_SECONDS
    ) -> Completed:
        """Run a command to its end. Raises `CommandFailed` when its status is not 0."""
        done = self.attempt(*argv, stdin=stdin, seconds=seconds)
        if done.status != 0:
            raise CommandFailed(self.host.name, done.argv, done.status, done.stdout, done.stderr)
        return done

    def attempt(
        self, *argv: str | PurePosixPath, stdin: bytes = b"", seconds: float = COMMAND_SECONDS
    ) -> Completed:
        """Like `run`, but any status is an answer."""
        words = tuple(str(word) for word in argv)
        channel = self._channel()
        try:
            channel.settimeout(seconds)
            # paramiko may say end-of-file for a channel that a short command has closed meanwhile,
            # and sshd ends the whole connection for that: without input, none is offered
            line = shlex.join(words)
            channel.exec_command(line if stdin else f"exec {line} </dev/null")
            if stdin:
                channel.sendall(stdin)
                channel.shutdown_write()
            # both streams are drained before the status is asked for: a full window would stall it
            errors: list[bytes] = []
            reader = threading.Thread(target=_drain, args=(channel, errors), daemon=True)
            reader.start()
            output = b"".join(iter(lambda: channel.recv(65536), b""))
            reader.join(seconds)
            status = _status(channel)
        except TimeoutError as error:
            raise ConnectionLost(
                self.host.name, f"{shlex.join(words)}: no answer within {seconds:g} s"
            ) from error
        except (OSError, EOFError, paramiko.SSHException) as error:
            raise ConnectionLost(
                self.host.name,
                f"{shlex.join(words)}: {words_of(self.host, error)}",
                remedy="is the host up, and the management network?",
            ) from error
        finally:
            channel.close()
        text = b"".join(errors).decode(errors="replace")
        return Completed(words, status, output.decode(errors="replace"), text)

    @contextmanager
    def start(self, *argv: str | PurePosixPath) -> Iterator[Process]:
        """Start a command that runs until the block ends."""
        channel = self._channel()
        try:
            channel.set_combine_stderr(True)
            channel.exec_command(shlex.join(str(word) for word in argv))
            yield Process(channel)
        finally:
            channel.close()

    def put(self, source: Path | bytes, target: PurePosixPath, *, mode: int = 0o644) -> None:
        """Copy a file or bytes to the host; its folder is made."""
        self.run("mkdir", "-p", target.parent)
        with self._connected().open_sftp() as sftp:
            if isinstance(source, bytes):
                sftp.putfo(io.BytesIO(source), str(target))
            else:
                sftp.put(str(source), str(target))
            sftp.chmod(str(target), mode)

    def get(self, source: PurePosixPath, most: int | None = None) -> bytes:
        """A file's contents, `most` bytes of them if given.

        Raises `OSError` without the file, `ConnectionLost` without SFTP.
        """
        try:
            with self._connected().open_sftp() as sftp, sftp.open(str(source), "rb") as file:
                if most is None:
                    file.prefetch()
                return file.read(most)
        except (EOFError, paramiko.SSHException) as error:
            raise lost(self.host, error) from error

    def _channel(self) -> paramiko.Channel:
        try:
            return self._open()
        except (OSError, EOFError, paramiko.SSHException):
            with self._lock:
                self.close()
            try:
                return self._open()
            except (OSError, EOFError, paramiko.SSHException) as error:
                raise lost(self.host, error) from error

    def _open(self) -> paramiko.Channel:
        """A new channel. A server that has enough of them (MaxSessions) is asked again: its
        connection is well, and others work on it."""

        def opened() -> paramiko.Channel | None:
            transport = self._connected().get_transport()
            if transport is None:
                raise EOFError("connection closed")
            try:
                return transport.open_session(timeout=CONNECT_SECONDS)
            except paramiko.SSHException as error:
                # not always a ChannelException: of several refusals at once paramiko keeps one
                if not transport.is_active():
                    raise
                refused.append(error)
                return None

        refused: list[paramiko.SSHException] = []
        try:
            return Deadline(CONNECT_SECONDS).wait_for("a session", opened)
        except TimedOut:
            raise refused[-1] from None

    def _connected(self) -> paramiko.SSHClient:
        with self._lock:
            transport = self._client.get_transport() if self._client else None
            if self._client is None or transport is None or not transport.is_active():
                self._client = self._connect()
            return self._client

    def _connect(self) -> paramiko.SSHClient:
        try:
            return login(self.host, self._way.open())
        except (OSError, EOFError, paramiko.SSHException) as error:
            raise lost(self.host, error) from error


def _status(channel: paramiko.Channel) -> int:
    status = channel.recv_exit_status()
    if status == NO_STATUS:
        raise EOFError("it ended without a status: killed, or the connection was lost")
    return status


def _drain(channel: paramiko.Channel, into: list[bytes]) -> None:
    with suppress(OSError):
        while data := channel.recv_stderr(65536):
            into.append(data)
