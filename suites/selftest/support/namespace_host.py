"""A host whose commands run in a network namespace of this machine."""

import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import BinaryIO, cast

import paramiko

from migqual.hosts.host import Host
from migqual.hosts.remote_process import RemoteProcess
from migqual.hosts.shell import Shell
from migqual.inventory.entities import HostEntry
from suites.selftest.support.network_namespace import NetworkNamespace


class ProcessChannel:
    """The parts of `paramiko.Channel` that `RemoteProcess` needs, for a local process."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process

    def makefile(self, mode: str, buffer_size: int) -> Iterator[bytes]:
        assert (mode, buffer_size) == ("r", -1)
        assert self._process.stdout is not None
        return self._process.stdout

    def recv_stderr(self, size: int) -> bytes:
        assert self._process.stderr is not None
        return self._process.stderr.read(size)

    def sendall(self, data: bytes) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(data)
        self._process.stdin.flush()


class NamespaceShell(Shell):
    """A shell that runs commands in a network namespace instead of over SSH."""

    def __init__(self, entry: HostEntry, namespace: NetworkNamespace) -> None:
        super().__init__(entry)
        self._namespace = namespace

    def _execute(
        self, arguments: Sequence[str], stdin: BinaryIO, seconds: float
    ) -> tuple[int, bytes, bytes]:
        result = subprocess.run(
            [*self._namespace.launcher, *arguments],
            input=stdin.read(),
            capture_output=True,
            timeout=seconds,
            check=False,
        )
        return result.returncode, result.stdout, result.stderr

    @contextmanager
    def start(
        self,
        *argv: str | PurePosixPath,
        has_terminal: bool = False,  # noqa: ARG002 - no terminal here
    ) -> Iterator[RemoteProcess]:
        with subprocess.Popen(
            [*self._namespace.launcher, *map(str, argv)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        ) as process:
            try:
                yield RemoteProcess(cast("paramiko.Channel", ProcessChannel(process)))
            finally:
                process.kill()


@contextmanager
def open_namespace_host(name: str, address: str, namespace: NetworkNamespace) -> Iterator[Host]:
    """Open a host whose commands run in the network namespace.

    Args:
        name: Name of the host.
        address: Migration address of the host.
        namespace: The network namespace, on this machine.
    """
    entry = HostEntry(name, address, Path("/none"), is_exclusive=True)
    with Host(entry) as host:
        host.shell = NamespaceShell(entry, namespace)
        yield host
