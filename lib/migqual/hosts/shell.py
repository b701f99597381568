"""Run commands and copy files on a host, over SSH (paramiko).

A command is a list of arguments without quoting: the module quotes each argument. Each call
re-opens a lost connection once.
"""

import io
import shlex
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import BinaryIO, Self

import paramiko

from migqual.deadline import Deadline
from migqual.errors import CommandFailed, ConnectionLost, LoginRefused, LoginUnusable, TimedOut
from migqual.hosts.remote_process import RemoteProcess, drain_stderr
from migqual.hosts.ssh_command import log_in_as_root, render_command_line
from migqual.hosts.ssh_login import (
    CONNECT_SECONDS,
    JumpHostChain,
    build_connection_lost,
    describe_ssh_error,
)
from migqual.hosts.ssh_penalties import LEDGER
from migqual.inventory.entities import HostEntry

COMMAND_SECONDS = 120.0
_CHUNK_BYTES = 2**18
# The contents come on standard input, so the server needs no SFTP subsystem.
_WRITE_FILE_SCRIPT = 'mkdir -p -- "${1%/*}" && cat > "$1" && chmod "$2" -- "$1"'
NO_STATUS = -1  # paramiko returns this number when the server sent no exit status


@dataclass(frozen=True)
class CompletedCommand:
    """The arguments, the exit status and the output of a command that has ended."""

    argv: tuple[str, ...]
    status: int
    stdout: str
    stderr: str


class Shell:
    """An SSH connection to a host.

    The class is thread-safe: each command has a separate channel.
    """

    def __init__(self, host: HostEntry) -> None:
        self.host = host
        self._client: paramiko.SSHClient | None = None
        self._jump_chain = JumpHostChain(host)
        self._lock = threading.Lock()
        self._refusal: ConnectionLost | None = None

    def __enter__(self) -> Self:
        self.open()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def open(self) -> None:
        """Log in, unless the connection is already open.

        After a refused login, each call raises the same error without a new login, because the
        server may lock out a client after several failed logins.

        Raises:
            ConnectionLost: The login fails.
            LoginUnusable: Commands do not run as root, or the login shell prints text.
        """
        self._get_client()

    def close(self) -> None:
        """Close the SSH connections to the host and to the jump hosts."""
        if self._client is not None:
            self._client.close()
        self._client = None
        self._jump_chain.close()

    def run(
        self, *argv: str | PurePosixPath, stdin: bytes = b"", seconds: float = COMMAND_SECONDS
    ) -> CompletedCommand:
        """Run a command to the end and require exit status 0.

        Args:
            *argv: The command and the arguments, without quoting.
            stdin: Bytes for standard input.
            seconds: Longest wait for the command.

        Returns:
            The status and the output.

        Raises:
            CommandFailed: The exit status is not 0.
            ConnectionLost: The command does not end within `seconds`, or the connection breaks.
        """
        result = self.run_unchecked(*argv, stdin=stdin, seconds=seconds)
        if result.status != 0:
            raise CommandFailed(
                self.host.name, result.argv, result.status, result.stdout, result.stderr
            )
        return result

    def run_unchecked(
        self, *argv: str | PurePosixPath, stdin: bytes = b"", seconds: float = COMMAND_SECONDS
    ) -> CompletedCommand:
        """Run a command to the end like `run`, but accept any exit status."""
        arguments = tuple(str(argument) for argument in argv)
        status, stdout, stderr = self._execute(arguments, io.BytesIO(stdin), seconds)
        return CompletedCommand(
            arguments, status, stdout.decode(errors="replace"), stderr.decode(errors="replace")
        )

    def _execute(
        self, arguments: Sequence[str], stdin: BinaryIO, seconds: float
    ) -> tuple[int, bytes, bytes]:
        """Run a command to the end; return exit status, standard output and standard error."""
        command_line = shlex.join(arguments)
        channel = self._open_channel()
        try:
            channel.settimeout(seconds)
            # When a short command closes the channel, paramiko may still send end-of-file. sshd
            # then ends the whole connection. Without input the command reads /dev/null and
            # needs no end-of-file.
            first_chunk = stdin.read(_CHUNK_BYTES)
            redirection = "" if first_chunk else " </dev/null"
            channel.exec_command(f"{render_command_line(self.host, arguments)}{redirection}")
            # Both streams are read before the exit status. If a stream is not read and its SSH
            # window is full, the command cannot end, and no exit status arrives.
            stderr_chunks: list[bytes] = []
            stderr_reader = threading.Thread(
                target=drain_stderr, args=(channel, stderr_chunks), daemon=True
            )
            stderr_reader.start()
            if first_chunk:
                channel.sendall(first_chunk)
                while chunk := stdin.read(_CHUNK_BYTES):
                    channel.sendall(chunk)
                channel.shutdown_write()
            stdout = b"".join(iter(lambda: channel.recv(65536), b""))
            stderr_reader.join(seconds)
            status = _read_exit_status(channel)
        except TimeoutError as error:
            raise ConnectionLost(
                self.host.name,
                f"{command_line}: no answer within {seconds:g} s",
                remedy="check the load of the host, or run the command by hand on the host",
            ) from error
        except (OSError, EOFError, paramiko.SSHException) as error:
            raise ConnectionLost(
                self.host.name,
                f"{command_line}: {describe_ssh_error(self.host, error)}",
                remedy="check that the host is up and that the management network works",
            ) from error
        finally:
            channel.close()
        return status, stdout, b"".join(stderr_chunks)

    @contextmanager
    def start(
        self, *argv: str | PurePosixPath, has_terminal: bool = False
    ) -> Iterator[RemoteProcess]:
        """Start a command, and close the SSH channel of the command after the block.

        Args:
            *argv: The command and the arguments, without quoting.
            has_terminal: True starts the command on a terminal, so that the character 0x03 in the
                input is Ctrl-C. The standard error is then a part of the standard output.

        Yields:
            The running command, which yields the lines of the standard output.
        """
        channel = self._open_channel()
        try:
            if has_terminal:
                channel.get_pty()
            channel.exec_command(
                render_command_line(self.host, [str(argument) for argument in argv])
            )
            yield RemoteProcess(channel)
        finally:
            channel.close()

    def upload_file(
        self, source: Path | bytes, target: PurePosixPath, *, mode: int = 0o644
    ) -> None:
        """Copy a file or bytes to a file on the host; create the folder if necessary.

        Args:
            source: Path of the file on the controller, or the contents.
            target: Path on the host.
            mode: Permissions of the file on the host.

        Raises:
            CommandFailed: The file or the folder cannot be written.
            ConnectionLost: The connection fails.
        """
        arguments = ("sh", "-c", _WRITE_FILE_SCRIPT, "sh", str(target), f"{mode:o}")
        with io.BytesIO(source) if isinstance(source, bytes) else source.open("rb") as stream:
            status, stdout, stderr = self._execute(arguments, stream, COMMAND_SECONDS)
        if status != 0:
            raise CommandFailed(
                self.host.name, ("write", str(target)), status, stdout.decode(), stderr.decode()
            )

    def read_file(self, source: PurePosixPath, max_bytes: int | None = None) -> bytes:
        """Read a file from the host.

        Args:
            source: Path on the host.
            max_bytes: Largest number of bytes to read; None reads the whole file.

        Returns:
            The contents.

        Raises:
            OSError: The file cannot be read.
            ConnectionLost: The connection fails.
        """
        read_command = ("cat",) if max_bytes is None else ("head", "-c", str(max_bytes))
        status, contents, stderr = self._execute(
            (*read_command, "--", str(source)), io.BytesIO(), COMMAND_SECONDS
        )
        if status != 0:
            raise OSError(f"{self.host.name}: {stderr.decode(errors='replace').strip()}")
        return contents

    def _open_channel(self) -> paramiko.Channel:
        try:
            return self._wait_for_session()
        except (OSError, EOFError, paramiko.SSHException):
            with self._lock:
                self.close()
            try:
                return self._wait_for_session()
            except (OSError, EOFError, paramiko.SSHException) as error:
                raise build_connection_lost(self.host, error) from error

    def _wait_for_session(self) -> paramiko.Channel:
        """Open an SSH session. Retry while sshd refuses more sessions (MaxSessions).

        Between the attempts the connection stays open, because other threads use the connection.
        """

        def try_open_session() -> paramiko.Channel | None:
            transport = self._get_client().get_transport()
            if transport is None:
                raise EOFError("connection closed")
            try:
                return transport.open_session(timeout=CONNECT_SECONDS)
            except paramiko.SSHException as error:
                # not always a ChannelException: paramiko keeps only a single error of parallel
                # refusals
                if not transport.is_active():
                    raise
                refusals.append(error)
                return None

        refusals: list[paramiko.SSHException] = []
        try:
            return Deadline(CONNECT_SECONDS).wait_for("a session", try_open_session)
        except TimedOut:
            raise refusals[-1] from None

    def _get_client(self) -> paramiko.SSHClient:
        with self._lock:
            if self._refusal is not None:
                raise self._refusal
            transport = self._client.get_transport() if self._client else None
            if self._client is None or transport is None or not transport.is_active():
                self._client = self._connect_client()
            return self._client

    def _connect_client(self) -> paramiko.SSHClient:
        try:
            return log_in_as_root(self.host, self._jump_chain.open_channel())
        except LoginUnusable as error:
            self._refusal = error
            raise
        except (OSError, EOFError, paramiko.SSHException) as error:
            lost_connection = build_connection_lost(self.host, error)
            if isinstance(lost_connection, LoginRefused):
                self._refusal = lost_connection
                LEDGER.add_failed_login(self.host)
            raise lost_connection from error


def _read_exit_status(channel: paramiko.Channel) -> int:
    status = channel.recv_exit_status()
    if status == NO_STATUS:
        raise EOFError(
            "the command ended without a status, because of a signal or a broken connection"
        )
    return status
