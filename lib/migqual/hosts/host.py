"""A host: its libvirt connections and its shell."""

import os
import shutil
import tempfile
from pathlib import Path
from typing import Self

from migqual.errors import HostError
from migqual.hosts import ssh
from migqual.hosts.connection import Connection
from migqual.hosts.shell import Shell
from migqual.model.inventory import Host as HostEntry

_FOLDER = "migqual-ssh-"  # and the id of the process that made it


class Host:
    """One machine of the inventory. A context manager; each connection opens when first used.

    libvirt      connection for all calls that are answered soon
    migrations   connection for the calls that migrate, which block until the end of a migration.
                 libvirt's client before 10.0 may leave a call unsent while another thread waits
                 for the answer to a long one on the same connection, until the next keepalive
    """

    def __init__(self, entry: HostEntry) -> None:
        self.entry = entry
        self.shell = Shell(entry)
        self._folder = tempfile.TemporaryDirectory(prefix=f"{_FOLDER}{os.getpid()}-")
        uri = ssh.libvirt_uri(entry, self._ssh_program())
        self.libvirt = Connection(entry.name, uri)
        self.migrations = Connection(entry.name, uri)

    @property
    def name(self) -> str:
        return self.entry.name

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self.migrations.close()
        self.libvirt.close()
        self.shell.close()
        self._folder.cleanup()

    @property
    def plain_uri(self) -> str:
        """The libvirt URI as a person types it."""
        return ssh.libvirt_uri(self.entry, None)

    def processes_of(self, guest: str) -> list[int]:
        """Ids of the QEMU processes that carry a guest of that name, running or not."""
        done = self.shell.attempt("pgrep", "-f", f"guest={guest},")
        if done.status > 1:
            raise HostError(self.name, f"pgrep: {done.stderr}", remedy="install procps on the host")
        return [int(pid) for pid in done.stdout.split()]

    def _ssh_program(self) -> Path:
        folder = Path(self._folder.name)
        config = folder / "config"
        config.write_text(ssh.config(self.entry))
        program = folder / "ssh"
        program.write_text(ssh.wrapper(config))
        program.chmod(0o700)
        return program


def remove_dead_folders() -> None:
    """Remove the folders on this machine of processes that were killed."""
    for folder in Path(tempfile.gettempdir()).glob(f"{_FOLDER}*-*"):
        pid = folder.name.removeprefix(_FOLDER).partition("-")[0]
        if (
            pid.isdigit()
            and not Path("/proc", pid).exists()
            and folder.stat().st_uid == os.getuid()
        ):
            shutil.rmtree(folder, ignore_errors=True)
