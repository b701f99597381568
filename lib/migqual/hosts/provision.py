"""Create and remove guests. The journal records every resource before creation on a host."""

import itertools
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from migqual.deadline import Deadline
from migqual.errors import ConnectionLost, HostError, RestoreFailed
from migqual.hosts import domain_xml
from migqual.hosts.acceleration import decide_acceleration, get_domain_type
from migqual.hosts.cached_state import CachedState, compute_cache_key
from migqual.hosts.domain_start import start_domain
from migqual.hosts.domain_template import DomainInputs, build_template_context, needs_uefi
from migqual.hosts.firmware import find_firmware
from migqual.hosts.guest import CONSOLE_LOG_FOLDER, Guest
from migqual.hosts.guest_identity import build_guest_name, choose_guest_address, derive_mac
from migqual.hosts.host import Host
from migqual.hosts.journal import Journal
from migqual.hosts.saved_state import SavedState, SavedStateRegistry, read_save_header
from migqual.hosts.system_disk import create_system_disk
from migqual.hosts.tcg_memory import check_tcg_memory
from migqual.hosts.volume import Volume, VolumeProvisioner
from migqual.image.guest_image import GuestImage
from migqual.inventory.entities import Acceleration, Inventory
from migqual.inventory.stores import LocalStore, Store, StoreKind
from migqual.model.guest_spec import GuestSpec
from migqual.step_times import time_step

BOOT_SECONDS = 30.0
IMAGE_BOOT_SECONDS = 240.0
# A guest zeroes at most this much memory before migqual saves the state of the guest. A TCG guest
# zeroes about 100 MiB per second, and the host needs as much free memory as the guest zeroes.
MAX_ZEROED_MIB = 512


@dataclass
class Provisioner:
    """An object that creates, starts and removes the guests of a worker process.

    Attributes:
        hosts: Hosts of the inventory, by name.
        image: Kernel, initramfs and payload for the guests.
        lane_number: Number of the worker's lane (the hosts of the worker), from 0.
        lane_count: Number of lanes. Each lane has an equal share of the service addresses.
        guest_numbers: Numbers for the names of the guests. A number that comes twice gives a guest
            the MAC of an earlier guest, which bridges may still know.
        accelerations: Observed acceleration of the latest guest that started on each host.
    """

    run_id: str
    inventory: Inventory
    hosts: dict[str, Host]
    journal: Journal
    image: GuestImage
    lane_number: int = 0
    lane_count: int = 1
    accelerations: dict[str, Acceleration] = field(default_factory=dict)
    guest_numbers: Iterator[int] = field(default_factory=itertools.count)
    _staged_hosts: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.saved_states = SavedStateRegistry(self._create_saved_state)

    @property
    def volume_provisioner(self) -> VolumeProvisioner:
        """Return an object that creates and removes volumes, with the same hosts and journal."""
        return VolumeProvisioner(self.journal, self.hosts)

    def get_run_folder(self, host: Host) -> PurePosixPath:
        """Return the path of the folder on `host` for the files of this process.

        Cleanup removes the folder at the end of the run.
        """
        return host.entry.scratch / f"mq-{self.run_id}-{self.lane_number}"

    @time_step("copy files to the host")
    def stage_files(self, host: Host) -> PurePosixPath:
        """Copy the payload program to a host, and the guests' kernel and initrd to a hypervisor.

        Only the first call for a host copies the files.

        Returns:
            The folder with the files on the host.
        """
        folder = self.get_run_folder(host)
        if host.name not in self._staged_hosts:
            host.shell.open()  # an unreachable host raises here, before the journal entry
            self.journal.record(
                host.name, "folder", str(folder), [("rm", "-rf", "--", str(folder))]
            )
            host.shell.upload_file(self.image.host_payload, folder / "payload", mode=0o755)
            if host.entry.service_bridge:
                host.shell.upload_file(self.image.kernel, folder / "kernel")
                host.shell.upload_file(self.image.initrd, folder / "initrd")
            self._staged_hosts.add(host.name)
        return folder

    @contextmanager
    def running_guest(
        self, spec: GuestSpec, host: Host, destination: Host | None = None
    ) -> Iterator[Guest]:
        """Run a guest with load during the block, then remove all resources of the guest.

        Args:
            spec: Description of the guest.
            host: The host of the guest.
            destination: A host to prepare for a later migration, with the kernel and the folders
                of the guest. With None, no host is prepared.
        """
        if destination is not None:
            # An unreachable destination raises here, before the journal has an entry for the host.
            destination.shell.open()
        guest = self.launch_guest(spec, host)
        try:
            self.start_guest_load(guest, destination)
            yield guest
        finally:
            self.remove_guest(guest)

    def start_guest_load(self, guest: Guest, destination: Host | None = None) -> None:
        """Wait until a guest has booted, and start the memory and disk writes in the guest.

        If `destination` is given, the method first prepares the destination for a migration.
        """
        if destination is not None:
            self.stage_files(destination)
            self._create_destination_folders(guest, destination)
        if not guest.saved_macs:
            self._wait_for_boot(guest)
        with time_step("start the load"):
            guest.start_load()

    @time_step("wait for the boot")
    def _wait_for_boot(self, guest: Guest) -> None:
        deadline = Deadline(BOOT_SECONDS if guest.spec.image is None else IMAGE_BOOT_SECONDS)
        guest.wait_for_agent(deadline)
        if guest.spec.image is not None:
            guest.wait_for_payload(deadline)

    def _create_destination_folders(self, guest: Guest, destination: Host) -> None:
        """Create the folders for the local disks of the guest at the destination."""
        disks = zip(guest.spec.disks, guest.volumes, strict=True)
        local_disks = [
            (disk, volume)
            for disk, volume in disks
            if disk.store is StoreKind.LOCAL and volume.type == "file"
        ]
        for folder in {volume.path.parent for disk, volume in local_disks if not disk.subfolder}:
            destination.shell.run("mkdir", "-p", folder)
        for folder in {volume.path.parent for disk, volume in local_disks if disk.subfolder}:
            guest.journal_entries.insert(
                0, self.volume_provisioner.create_folder(destination, folder)
            )

    def launch_guest(self, spec: GuestSpec, host: Host) -> Guest:
        """Create the volumes of a guest, and start the guest from a saved state or by a boot.

        Guests with the same devices share a saved state on the host. The first call creates the
        state. If migqual cannot create or restore a state on the host, this guest and all later
        guests of the host boot. The reason is then in `saved_states.restore_failures`.

        Call `start_guest_load` afterwards.
        """
        state = self.saved_states.find_or_create(spec, host)
        while state is not None:
            try:
                return self._start_guest(self._build_guest(spec, host), state)
            except RestoreFailed as error:
                state = self.saved_states.replace_failed(spec, host, error)
        return self.boot_guest(spec, host)

    def boot_guest(self, spec: GuestSpec, host: Host) -> Guest:
        """Create the volumes of a guest and start the guest; return before the boot ends."""
        return self._start_guest(self._build_guest(spec, host), None)

    def _create_saved_state(self, shape: GuestSpec, host: Host) -> SavedState:
        """Copy the saved state for guests like `shape` from the host's cache, or create a state.

        For a new state the method boots a guest without IP addresses and saves the guest. The
        state file is in the folder from `get_run_folder`.
        """
        folder = self.stage_files(host)
        cached_state = CachedState(host, self.compute_state_key(shape, host))
        path = folder / f"state-{cached_state.key}"
        with time_step("copy the cached state"):
            if cached_state.copy_to(path):
                try:
                    return SavedState(host, path, read_save_header(host, path), cached_state)
                except ConnectionLost:
                    raise
                except HostError:  # the cached file is damaged: create a new state below
                    cached_state.remove_file()
        guest = self._build_guest(shape, host)
        guest.address = ""
        self._start_guest(guest, None, LocalStore("saved states", folder))
        try:
            self._wait_for_boot(guest)
            with time_step("save the state of the guest"):
                # Zero the free memory. Otherwise the state contains data from the boot, and each
                # migration of a restored guest sends the data.
                zeroed_mib = min(shape.memory_mib, MAX_ZEROED_MIB)
                guest.run_payload_command("zero-free", f"mib={zeroed_mib}", seconds=BOOT_SECONDS)
                guest.domain.save(path)
                cached_state.store_from(path)
            return SavedState(host, path, read_save_header(host, path))
        finally:
            self.remove_guest(guest)

    def compute_state_key(self, shape: GuestSpec, host: Host) -> str:
        """Compute the cache key of the saved state for guests like `shape`.

        The key is the same in all runs.
        """
        guest = Guest(
            name="shape",
            uuid=str(uuid.UUID(int=0)),
            spec=shape,
            host=host,
            address="",
            macs=tuple(derive_mac("shape", nic) for nic in range(shape.nics)),
            volumes=tuple(Volume("file", PurePosixPath("/disk"), "") for _ in shape.disks),
        )
        xml = domain_xml.render_domain_xml(
            build_template_context(self._build_domain_inputs(guest, PurePosixPath("/shape")))
        )
        return compute_cache_key(host, self.image.key, repr(shape), xml)

    def _build_guest(self, spec: GuestSpec, host: Host) -> Guest:
        guest_number = next(self.guest_numbers)
        name = build_guest_name(self.run_id, self.lane_number, guest_number)
        address, prefix = choose_guest_address(
            self.inventory, guest_number, self.lane_number, self.lane_count
        )
        return Guest(
            name=name,
            uuid=str(uuid.uuid4()),
            spec=spec,
            host=host,
            address=address,
            prefix_length=prefix,
            macs=tuple(derive_mac(name, nic) for nic in range(spec.nics)),
            console_log=str(CONSOLE_LOG_FOLDER / f"{name}.console"),
        )

    def _start_guest(
        self, guest: Guest, state: SavedState | None, store: Store | None = None
    ) -> Guest:
        """Create the volumes of a guest, then restore `state`, or boot if `state` is None.

        If `store` is given, all disks are on `store`. After an error the guest is removed.
        """
        folder = self.stage_files(guest.host)
        try:
            self._start_domain(guest, folder, state, store)
        except BaseException:
            self.remove_guest(guest)
            raise
        return guest

    def _start_domain(
        self, guest: Guest, folder: PurePosixPath, state: SavedState | None, store: Store | None
    ) -> None:
        host, name = guest.host, guest.name
        with time_step("create images"):
            guest.volumes = tuple(self._create_volumes(guest, store))
        xml = domain_xml.render_domain_xml(
            build_template_context(self._build_domain_inputs(guest, folder))
        )
        for host_name in self.inventory.list_lane_host_names(host.name):
            guest.journal_entries.append(
                self.journal.record(host_name, "domain", name, guest.build_undo_commands())
            )
        with time_step("restore the guest" if state else "define and start the guest"):
            self.accelerations[host.name] = start_domain(guest, xml, state)

    def _list_peers(self, host: Host) -> list[Host]:
        """List the hosts to which a guest from `host` may migrate."""
        names = self.inventory.list_lane_host_names(host.name)
        return [self.hosts[name] for name in names if name != host.name]

    @time_step("remove the guest")
    def remove_guest(self, guest: Guest) -> None:
        """Remove the guest, the volumes and the log files of the guest from every host."""
        self.volume_provisioner.remove_entries(guest.journal_entries)
        guest.journal_entries.clear()

    def close(self) -> None:
        """Remove every resource with an open journal entry and close the journal."""
        self.volume_provisioner.remove_entries(list(reversed(self.journal.open_entries)))
        self.journal.close()

    def _create_volumes(self, guest: Guest, store_override: Store | None) -> Iterator[Volume]:
        for target, disk in zip(guest.spec.list_disk_targets(), guest.spec.disks, strict=True):
            store = store_override or self.inventory.find_store(disk.store)
            volume, entries = self.volume_provisioner.create_volume(
                f"{guest.name}-{target}", disk, store, guest.host, self._list_peers(guest.host)
            )
            guest.journal_entries += entries
            yield volume

    def _build_domain_inputs(self, guest: Guest, folder: PurePosixPath) -> DomainInputs:
        virt_type = get_domain_type(
            decide_acceleration(self.inventory.acceleration, self.inventory.tier)
        )
        networks = tuple(
            (mac, "" if index or not guest.address else f"{guest.address}/{guest.prefix_length}")
            for index, mac in enumerate(guest.macs)
        )
        architecture = guest.host.guest_architecture
        if virt_type == "qemu":
            check_tcg_memory(guest.host, guest.spec)
        system_disk, seed_image = create_system_disk(
            guest, networks, self.image.payload, self.inventory, self.journal
        )
        return DomainInputs(
            name=guest.name,
            uuid=guest.uuid,
            spec=guest.spec,
            arch=architecture,
            virt_type=virt_type,
            boot_folder=folder,
            networks=networks,
            volumes=guest.volumes,
            bridge=guest.host.entry.service_bridge,
            has_ovs_bridge=guest.host.has_ovs_bridge,
            console_log=guest.console_log,
            libvirt_version=guest.host.libvirt.query_libvirt_version(),
            firmware=find_firmware(
                guest.host, architecture, guest.spec.machine or architecture.machine_type
            )
            if needs_uefi(guest.spec, architecture)
            else None,
            default_cpu=self.inventory.guest_cpu
            or ("host-passthrough" if virt_type == "kvm" else architecture.emulated_cpu),
            emulator=guest.host.entry.emulator,
            system_disk=system_disk,
            seed_image=seed_image,
        )
