"""Connect to a host of the inventory, with two libvirt connections and an SSH shell."""

import fcntl
import os
import re
import shutil
import tempfile
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import IO, Self

from migqual.architecture import Architecture
from migqual.errors import HostError
from migqual.hosts import ssh_config
from migqual.hosts.connection import Connection
from migqual.hosts.host_names import HostNames
from migqual.hosts.shell import Shell
from migqual.inventory.entities import HostEntry, Transport

_QEMU_VERSION_PATTERN = re.compile(r"^QEMU emulator version (\d+\.\d+\.\d+)", re.MULTILINE)
_FOLDER_PREFIX = "migqual-ssh-"
_LOCK_FILE = "in-use"  # locked by the process that made the folder


class Host:
    """A machine of the inventory with libvirt connections and an SSH shell.

    The class is a context manager. Each connection opens when first used.

    Attributes:
        libvirt: Connection for all short calls.
        migration_connection: Connection for the calls that last as long as a migration. In
            libvirt before 10.0, a long call can delay the calls of other threads on the same
            connection.
    """

    def __init__(self, entry: HostEntry) -> None:
        self.entry = entry
        self.shell = Shell(entry)
        self._ssh_folder = tempfile.TemporaryDirectory(prefix=_FOLDER_PREFIX)
        self._folder_lock = _lock_folder(Path(self._ssh_folder.name))
        uri = ssh_config.build_libvirt_uri(entry, self._write_ssh_wrapper())
        self.libvirt = Connection(entry.name, uri, self._check_ssh_login)
        self.migration_connection = Connection(entry.name, uri, self._check_ssh_login)

    @property
    def name(self) -> str:
        """Return the name of the host in the inventory."""
        return self.entry.name

    @cached_property
    def names(self) -> HostNames:
        """Return the path of QEMU and the name of the service bridge on the host.

        The path of QEMU is `migqual_emulator` of the inventory. If the inventory has no path, the
        path is libvirt's default.

        Raises:
            HostError: libvirt reports no QEMU program.
        """
        return HostNames(
            self.entry.emulator or self._query_emulator(),
            self.entry.service_bridge,
            self.has_ovs_bridge,
        )

    @cached_property
    def has_ovs_bridge(self) -> bool:
        """Return whether the service bridge is a bridge of Open vSwitch (ovs-vsctl(8))."""
        argv = ("ovs-vsctl", "--timeout=5", "br-exists", self.entry.service_bridge)
        return bool(self.entry.service_bridge) and self.shell.run_unchecked(*argv).status == 0

    @cached_property
    def guest_architecture(self) -> Architecture:
        """Return the guests' architecture: `migqual_guest_architecture` or the host's architecture.

        Raises:
            HostError: migqual has no guests for the architecture of the host.
        """
        name = self.entry.guest_architecture or str(self.libvirt.query_node_info()["arch"])
        try:
            return Architecture(name)
        except ValueError:
            raise HostError(
                self.name,
                f"migqual has no guests for the architecture {name}",
                remedy=f"use hosts with one of these architectures: {', '.join(Architecture)}",
            ) from None

    def query_versions(self) -> dict[str, str]:
        """Query the dotted versions of libvirt and of QEMU; the keys are `libvirt` and `qemu`.

        libvirt knows only the version of its default QEMU. If the inventory sets another QEMU
        (`migqual_emulator`), the method runs that QEMU with `--version`.

        Raises:
            HostError: The QEMU of `migqual_emulator` prints no version.
        """
        versions = self.libvirt.query_versions()
        return versions | {"qemu": self._emulator_version} if self.entry.emulator else versions

    @cached_property
    def _emulator_version(self) -> str:
        result = self.shell.run_unchecked(self.names.emulator, "--version")
        version = _QEMU_VERSION_PATTERN.search(result.stdout)
        if version is None:
            output = (result.stderr or result.stdout).strip()
            raise HostError(
                self.name,
                f"{self.names.emulator} --version prints no version: {output}",
                remedy="correct migqual_emulator of the host, or install the missing libraries",
            )
        return version[1]

    def _query_emulator(self) -> str:
        arch = self.guest_architecture
        domain_capabilities = self.libvirt.query_domain_capabilities(
            emulator=None, arch=arch.value, machine=arch.machine_type, virt_type="qemu"
        )
        emulator_path = domain_capabilities.findtext("path")
        if not emulator_path:
            raise HostError(
                self.name,
                f"libvirt reports no QEMU program for {arch.value}",
                remedy="install QEMU, or set migqual_emulator of the host in the inventory",
            )
        return emulator_path

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close_connections(self) -> None:
        """Close all connections. The next call opens a connection again."""
        self.migration_connection.close()
        self.libvirt.close()
        self.shell.close()

    def close(self) -> None:
        """Close all connections and remove the temporary folder with the SSH configuration."""
        self.close_connections()
        self._ssh_folder.cleanup()
        self._folder_lock.close()

    @property
    def virsh_uri(self) -> str:
        """Return the libvirt URI of the host for `virsh` on the controller."""
        return ssh_config.build_libvirt_uri(self.entry, None)

    def list_qemu_pids(self, guest_name: str) -> list[int]:
        """List the ids of all QEMU processes of a guest on the host. The list may be empty.

        Raises:
            HostError: `pgrep` fails.
        """
        # The brackets keep the pattern from matching the command line of sudo.
        result = self.shell.run_unchecked("pgrep", "-f", f"guest[=]{guest_name},")
        if result.status > 1:
            raise HostError(
                self.name,
                f"cannot list QEMU processes with pgrep: {result.stderr.strip()}",
                remedy="install the package procps on the host",
            )
        return [int(pid) for pid in result.stdout.split()]

    def _check_ssh_login(self) -> None:
        """Open migqual's SSH connection before libvirt starts `ssh`.

        If the server refuses the login, migqual raises an error and libvirt does not start `ssh`.
        """
        if self.entry.uri_transport is not Transport.TLS:
            self.shell.open()

    def _write_ssh_wrapper(self) -> Path:
        folder = Path(self._ssh_folder.name)
        config_file = folder / "config"
        config_file.write_text(ssh_config.render_ssh_config(self.entry))
        wrapper_file = folder / "ssh"
        wrapper_file.write_text(ssh_config.render_ssh_wrapper(self.entry, config_file))
        wrapper_file.chmod(0o700)
        return wrapper_file


def remove_stale_ssh_folders() -> None:
    """Remove the temporary SSH folders of migqual processes that ended without clean-up.

    A process holds a lock in its folder until it ends. The lock also protects the folder of a
    process in another container that shares the temporary folder. A check of process ids would
    not protect that folder.
    """
    for folder in Path(tempfile.gettempdir()).glob(f"{_FOLDER_PREFIX}*"):
        lock_file = folder / _LOCK_FILE
        if not lock_file.is_file() or folder.stat().st_uid != os.getuid():
            continue
        with lock_file.open() as stream, suppress(BlockingIOError):
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(folder, ignore_errors=True)


def _lock_folder(folder: Path) -> IO[str]:
    """Lock the folder until the returned file is closed, at the latest at the end of the process.

    The function creates and locks the lock file under a temporary name, then renames the file.
    Without the rename, `remove_stale_ssh_folders` of another process could find a lock file that is
    not yet locked, and remove the folder.
    """
    stream = (folder / f"{_LOCK_FILE}.new").open("w")
    fcntl.flock(stream, fcntl.LOCK_EX)
    (folder / f"{_LOCK_FILE}.new").rename(folder / _LOCK_FILE)
    return stream
