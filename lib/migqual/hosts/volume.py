"""Create, export and remove disks on the stores of an inventory."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from migqual.deadline import Deadline
from migqual.errors import ConnectionLost, HostError, StackError, TimedOut, WithheldError
from migqual.hosts.domain import Domain
from migqual.hosts.host import Host
from migqual.hosts.host_power import POWER_KIND, switch_on
from migqual.hosts.iscsi_target import create_target, query_initiator_address
from migqual.hosts.journal import Journal, JournalEntry
from migqual.hosts.nbd_server import start_nbd_server
from migqual.hosts.pid_file import build_stop_command
from migqual.inventory.stores import DirectoryStore, IscsiStore, LocalStore, NbdStore, Store
from migqual.model.guest_spec import DiskFormat, DiskSpec, Medium

# Enough space for the tables and the rounding of each qcow2 image that the suites create.
QCOW2_OVERHEAD_MIB = 16
REMOVAL_SECONDS = 60.0  # of a domain; longer than the 30 s that a call may wait in libvirt
REMOVAL_PAUSE_SECONDS = 0.5


@dataclass(frozen=True)
class Volume:
    """A disk image, which is a file or an export that QEMU opens over the network.

    Attributes:
        type: ``file``, ``network`` for an export of the storage host, or ``none`` for an empty
            drive.
        path: Path of the image file.
        host: Name of the host with the image file.
        protocol: ``nbd`` or ``iscsi``, for an export.
        export_name: Name of the NBD export, or iSCSI target and LUN.
        address: IP address of the export.
        port: TCP port of the export.
    """

    type: str
    path: PurePosixPath
    host: str
    protocol: str = ""
    export_name: str = ""
    address: str = ""
    port: int = 0


class VolumeProvisioner:
    """An object that creates and removes disk images and network exports of images.

    The journal records every volume before the creation.
    """

    def __init__(self, journal: Journal, hosts: dict[str, Host]) -> None:
        self._journal = journal
        self._hosts = hosts
        self._port_counter = itertools.count()

    def create_volume(
        self, name: str, spec: DiskSpec, store: Store, host: Host, peers: Sequence[Host] = ()
    ) -> tuple[Volume, list[JournalEntry]]:
        """Create the volume for a disk of a guest.

        Args:
            name: Name of the volume.
            spec: Description of the disk.
            store: Store of the inventory, in which the image is created.
            host: Host that creates the image on a directory store or local store.
            peers: Other hosts to which the guest may migrate. On an iSCSI store only `host` and
                these hosts can open the volume.

        Returns:
            The volume and the journal entries, in the order of creation.
        """
        if spec.medium is Medium.EMPTY_CDROM:
            return Volume("none", PurePosixPath(), host.name), []
        match store:
            case DirectoryStore() | LocalStore():
                return self._create_file_volume(name, spec, store.path, host)
            case NbdStore():
                return self._create_nbd_volume(name, spec, store)
            case IscsiStore():
                return self._create_iscsi_volume(name, spec, store, (host, *peers))

    def remove_entries(self, entries: list[JournalEntry]) -> None:
        """Remove the resources of journal entries, newest first.

        After a failed removal, the entry stays in the journal of the run, and the method
        continues with the next entry. After a lost connection to a host, the method skips the
        other entries of the host.

        Args:
            entries: The entries, oldest first.

        Raises:
            HostError: A removal failed. The first error is raised at the end.
        """
        errors: list[HostError] = []
        lost_hosts: set[str] = set()
        for entry in reversed(entries):
            if entry.host in lost_hosts:
                continue
            try:
                undo_entry(self._hosts[entry.host], entry)
            except HostError as error:
                errors.append(error)
                lost_hosts |= {entry.host} if isinstance(error, ConnectionLost) else set()
            else:
                self._journal.record_removal(entry)
        if errors:
            raise errors[0]

    def _create_file_volume(
        self, name: str, spec: DiskSpec, store: PurePosixPath, host: Host
    ) -> tuple[Volume, list[JournalEntry]]:
        path = get_image_folder(name, spec, store) / f"{name}.{spec.format}"
        entries = [self.create_folder(host, path.parent)] if spec.subfolder else []
        base_path = path.with_suffix(".base")
        options = [argument for option in spec.create_options for argument in ("-o", option)]
        if spec.has_backing_file:
            entries.append(self._create_image(host, base_path, spec))
            # Contents at the beginning and the end depend on the volume name, so images differ.
            write_commands = (
                f"write -P {sum(name.encode()) % 255 + 1} {offset_mib}M 1M"
                for offset_mib in (1, spec.size_mib - 1)
            )
            qemu_io_arguments = [
                argument for command in write_commands for argument in ("-c", command)
            ]
            host.shell.run("qemu-io", "-f", spec.format, *qemu_io_arguments, base_path)
            options += ["-b", str(base_path), "-F", spec.format]
        entries.append(self._create_image(host, path, spec, *options))
        return Volume("file", path, host.name), entries

    def create_folder(self, host: Host, folder: PurePosixPath) -> JournalEntry:
        """Create a folder for images on a host. Cleanup removes only an empty folder."""
        entry = self._journal.record(host.name, "folder", str(folder), [("rmdir", str(folder))])
        host.shell.run("mkdir", "-p", folder)
        return entry

    def _create_export_image(self, host: Host, path: PurePosixPath, spec: DiskSpec) -> JournalEntry:
        """Create an image for an NBD or iSCSI export, which has a fixed size.

        A qcow2 file can grow beyond the virtual size, but an export cannot grow. The file of a
        qcow2 image therefore gets the virtual size plus `QCOW2_OVERHEAD_MIB`.
        """
        entry = self._create_image(host, path, spec)
        if spec.format is DiskFormat.QCOW2:
            host.shell.run("truncate", "-s", f"{spec.size_mib + QCOW2_OVERHEAD_MIB}M", path)
        return entry

    def _create_image(
        self, host: Host, path: PurePosixPath, spec: DiskSpec, *options: str
    ) -> JournalEntry:
        host.shell.open()  # an unreachable host raises here, before the journal entry
        entry = self._journal.record(host.name, "image", str(path), [("rm", "-f", "--", str(path))])
        host.shell.run("mkdir", "-p", path.parent)
        size = f"{spec.size_mib}M"
        host.shell.run("qemu-img", "create", "-q", "-f", spec.format, *options, path, size)
        return entry

    def _create_nbd_volume(
        self, name: str, spec: DiskSpec, store: NbdStore
    ) -> tuple[Volume, list[JournalEntry]]:
        server = self._hosts[store.server]
        path = store.directory / f"{name}.{spec.format}"
        image_entry = self._create_export_image(server, path, spec)
        pid_file = path.with_suffix(".pid")
        undo_commands = (build_stop_command(pid_file),)
        export_entry = self._journal.record(server.name, "nbd export", name, undo_commands)
        options = (
            *("--persistent", "--shared=8", "--cache=none", "--discard=unmap", "--format=raw"),
            *(f"--bind={store.address}", f"--export-name={name}", f"--pid-file={pid_file}"),
        )
        ports = (self._choose_port(name, store) for _ in store.ports)
        port = start_nbd_server(server, ports, path, *options)
        if port is None:
            raise HostError(
                server.name,
                f"no free TCP port for an NBD export in {store.ports.start}-{store.ports.stop - 1}",
                remedy=f"widen `ports` of the store {store.name} in the inventory, or run "
                "`migqual sweep`",
            )
        volume = Volume("network", path, server.name, "nbd", name, store.address, port)
        return volume, [image_entry, export_entry]

    def _choose_port(self, name: str, store: NbdStore) -> int:
        # The first index depends on the volume name, so workers seldom choose the same port.
        first_index = sum(name.encode()) * 7
        return store.ports[(first_index + next(self._port_counter)) % len(store.ports)]

    def _create_iscsi_volume(
        self, name: str, spec: DiskSpec, store: IscsiStore, initiators: Sequence[Host]
    ) -> tuple[Volume, list[JournalEntry]]:
        server = self._hosts[store.server]
        path = store.directory / f"{name}.{spec.format}"
        image_entry = self._create_export_image(server, path, spec)
        target = f"{store.target}.{name}"
        target_entry = create_target(
            self._journal,
            server,
            target,
            path,
            [query_initiator_address(host, store.address) for host in initiators],
        )
        volume = Volume(
            "network", path, server.name, "iscsi", f"{target}/1", store.address, store.port
        )
        return volume, [image_entry, target_entry]


def get_image_folder(name: str, spec: DiskSpec, store: PurePosixPath) -> PurePosixPath:
    """Return the folder for the image of the volume `name` in the directory `store`."""
    return store / f"{name}.{spec.subfolder}" if spec.subfolder else store


BACKED_UP_KINDS = ("certificates", "settings")


def undo_entry(host: Host, entry: JournalEntry) -> None:
    """Remove the resource of a journal entry. A resource that does not exist causes no error.

    Raises:
        HostError: libvirt does not remove the domain, or the host does not restore the original
            certificates or settings.
    """
    if entry.kind == POWER_KIND:
        try:
            switch_on(host)
        except (TimedOut, WithheldError) as error:
            raise ConnectionLost(host.name, error.message, remedy=error.remedy) from error
    if entry.kind == "domain":
        _remove_domain(host, entry.name)
    for argv in entry.undo:
        result = host.shell.run_unchecked(*argv)
        if entry.kind in BACKED_UP_KINDS and result.status != 0:
            reason = result.stderr.strip() or f"exit status {result.status}"
            raise HostError(host.name, f"cannot restore the {entry.kind} {entry.name}: {reason}")


def _remove_domain(host: Host, name: str) -> None:
    """Destroy and undefine a domain, and repeat this until libvirt no longer has the domain.

    One removal may not be enough. If a client of libvirt was killed, libvirt may execute the
    client's last call up to 30 s later. This call may start the domain again, or rename the domain
    to ``NAME-...``.
    """
    deadline = Deadline(REMOVAL_SECONDS)
    domains = _find_domains(host, name)
    while domains:
        if deadline.is_over:
            raise HostError(
                host.name,
                f"libvirt accepted the removal of domain {name}, but the domain is still there",
            )
        try:
            for domain in domains:
                domain.destroy()
                domain.undefine()
        except StackError as error:
            # libvirt 9.0 keeps the migration job for ever when the source died in post-copy
            raise HostError(
                host.name,
                f"domain {name} cannot be removed: {error.message}",
                remedy=f"restart libvirt's daemon on {host.name} (its guests keep running), "
                "then run `migqual sweep`",
            ) from error
        if domains := _find_domains(host, name):
            deadline.pause(REMOVAL_PAUSE_SECONDS)


def _find_domains(host: Host, name: str) -> list[Domain]:
    """Find the domain of a guest, and domains whose names begin with ``NAME-``."""
    all_names = host.libvirt.list_domain_states()
    domains = [
        host.libvirt.find_domain(domain_name)
        for domain_name in all_names
        if f"{domain_name}-".startswith(f"{name}-")
    ]
    return [domain for domain in domains if domain is not None]
