"""Commands and files on a host, over SSH (paramiko).

Argument vectors only: they are quoted once, here. Keys only; a host key that the inventory's
known_hosts does not hold is refused. A lost connection is re-opened once per call.
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
from paramiko.hostkeys import InvalidHostKey
from paramiko.ssh_exception import NoValidConnectionsError

from migqual.deadline import Deadline
from migqual.errors import CommandFailed, ConnectionLost, TimedOut
from migqual.model.inventory import Host

CONNECT_SECONDS = 15.0
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
        self._jumps: list[paramiko.SSHClient] = []
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
        for client in (self._client, *reversed(self._jumps)):
            if client is not None:
                client.close()
        self._client, self._jumps = None, []

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
                f"{shlex.join(words)}: {_words(self.host, error)}",
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

    def get(self, source: PurePosixPath) -> bytes:
        """A file's contents. Raises `OSError` without it, `ConnectionLost` without SFTP."""
        try:
            with self._connected().open_sftp() as sftp, sftp.open(str(source), "rb") as file:
                file.prefetch()
                return file.read()
        except (EOFError, paramiko.SSHException) as error:
            raise _lost(self.host, error) from error

    def _channel(self) -> paramiko.Channel:
        try:
            return self._open()
        except (OSError, EOFError, paramiko.SSHException):
            with self._lock:
                self.close()
            try:
                return self._open()
            except (OSError, EOFError, paramiko.SSHException) as error:
                raise _lost(self.host, error) from error

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
            return connect(self.host, self._jump())
        except (OSError, EOFError, paramiko.SSHException) as error:
            raise _lost(self.host, error) from error

    def _jump(self) -> paramiko.Channel | None:
        """A channel through the jump hosts, outermost first."""
        channel: paramiko.Channel | None = None
        targets = [_jump_host(self.host, words) for words in self.host.jump_hosts]
        for number, jump in enumerate(targets):
            try:
                client = connect(jump, channel)
            except (OSError, EOFError, paramiko.SSHException) as error:
                raise _lost(jump, error) from error
            self._jumps.append(client)
            following = targets[number + 1] if number + 1 < len(targets) else self.host
            transport = client.get_transport()
            if transport is None:
                raise EOFError(f"jump host {jump.address} closed the connection")
            origin = ("127.0.0.1", 0)
            channel = transport.open_channel(
                "direct-tcpip", (following.address, following.port), origin
            )
        return channel


def connect(host: Host, channel: paramiko.Channel | None = None) -> paramiko.SSHClient:
    """Log in with the key and the known_hosts of the inventory; never with a password."""
    client = paramiko.SSHClient()
    try:
        client.load_host_keys(str(host.known_hosts))
    except InvalidHostKey as error:
        raise paramiko.SSHException(f"no host key in {host.known_hosts}: {error.line!r}") from error
    client.set_missing_host_key_policy(paramiko.RejectPolicy())
    options = _options(host)
    try:
        client.connect(
            options.get("hostname", host.address),
            port=host.port,
            username=host.user,
            key_filename=str(host.key) if host.key else options.get("identityfile"),
            allow_agent=host.key is None,
            look_for_keys=False,
            timeout=CONNECT_SECONDS,
            banner_timeout=CONNECT_SECONDS,
            auth_timeout=CONNECT_SECONDS,
            sock=channel,
        )
    except BaseException:
        client.close()
        raise
    transport = client.get_transport()
    if transport is not None:
        transport.set_keepalive(5)
    return client


def _options(host: Host) -> dict[str, str]:
    """What the user's ssh_config says of the host."""
    if host.ssh_config is None:
        return {}
    found = paramiko.SSHConfig.from_path(str(host.ssh_config)).lookup(host.address)
    return {name: str(value) for name, value in found.items()}


def _jump_host(host: Host, words: str) -> Host:
    user, _, place = words.rpartition("@")
    address, _, port = place.partition(":")
    return Host(
        name=f"jump host {address}",
        address=address,
        known_hosts=host.known_hosts,
        port=int(port or 22),
        user=user or host.user,
        key=host.key,
    )


def _lost(host: Host, error: Exception) -> ConnectionLost:
    remedies = {
        paramiko.BadHostKeyException: f"the host's key differs from {host.known_hosts}",
        paramiko.AuthenticationException: f"add the public part of {host.key} to the host's "
        "authorized_keys",
    }
    remedy = next((words for kind, words in remedies.items() if isinstance(error, kind)), "")
    if "not found in known_hosts" in str(error):
        remedy = f"check the host's key and add it to {host.known_hosts} (ssh-keyscan)"
    return ConnectionLost(
        host.name,
        f"SSH to {host.user}@{host.address}:{host.port}: {_words(host, error)}",
        remedy=remedy or "is the host up, and its SSH port reachable from here?",
    )


def _words(host: Host, error: Exception) -> str:
    """What went wrong, without Python's names for it where there are others. Addresses that are not
    the host's own are told."""
    if isinstance(error, NoValidConnectionsError):
        told = [
            ("" if at == (host.address, host.port) else f"{at[0]}:{at[1]}: ") + _words(host, one)
            for at, one in error.errors.items()
        ]
        return ", ".join(told)
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower() + (f": {error.filename}" if error.filename else "")
    return str(error) or type(error).__name__


def _status(channel: paramiko.Channel) -> int:
    status = channel.recv_exit_status()
    if status == NO_STATUS:
        raise EOFError("it ended without a status: killed, or the connection was lost")
    return status


def _drain(channel: paramiko.Channel, into: list[bytes]) -> None:
    with suppress(OSError):
        while data := channel.recv_stderr(65536):
            into.append(data)
