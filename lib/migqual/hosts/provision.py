"""Make guests, and remove them. Everything is in the journal before it is on a host."""

import itertools
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from migqual import places
from migqual.deadline import Deadline
from migqual.errors import ConnectionLost, HostError, RestoreFailed, UsageError
from migqual.hosts import domain_xml
from migqual.hosts.guest import Guest
from migqual.hosts.host import Host
from migqual.hosts.journal import Journal
from migqual.hosts.placement import SESSION_PORT, Placement, context
from migqual.hosts.saved_state import SavedState, SavedStates, read_head
from migqual.hosts.state_folder import KeptState, compute_state_key
from migqual.hosts.volume import Volume, Volumes
from migqual.image.guest import GuestImage
from migqual.image.seed import cloud_seed
from migqual.model.guest import Architecture, GuestSpec, Persistence
from migqual.model.inventory import (
    Acceleration,
    DirectoryStore,
    Inventory,
    LocalStore,
    Store,
    StoreKind,
)
from migqual.steps import timed

READY_SECONDS = 30.0
IMAGE_SECONDS = 240.0
ZEROED_MIB = 512  # at most: emulated, it takes 1 s for some 100; its host has to have as much free
CONSOLE = PurePosixPath("/var/log/libvirt/qemu")
NVRAM = PurePosixPath("/var/lib/libvirt/qemu/nvram")


@dataclass
class Provisioner:
    """Makes the guests of one process (one worker: `slot` of `slots`).

    slot, slots   this worker's share of the service addresses
    """

    run: str
    inventory: Inventory
    hosts: dict[str, Host]
    journal: Journal
    image: GuestImage
    slot: int = 0
    slots: int = 1
    _numbers: Iterator[int] = field(default_factory=itertools.count)
    _staged: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.saved = SavedStates(self._save_shape)

    @property
    def volumes(self) -> Volumes:
        return Volumes(self.journal, self.hosts)

    def folder(self, host: Host) -> PurePosixPath:
        """This process's own folder on a host; removed at the end."""
        return host.entry.scratch / f"mq-{self.run}-{self.slot}"

    @timed("stage files")
    def stage(self, host: Host) -> PurePosixPath:
        """Copy kernel, initramfs and payload to the host once; returns their folder."""
        folder = self.folder(host)
        if host.name not in self._staged:
            host.shell.open()  # on one that is away nothing is made, and nothing is written down
            self.journal.record(
                host.name, "folder", str(folder), [("rm", "-rf", "--", str(folder))]
            )
            host.shell.put(self.image.payload, folder / "payload", mode=0o755)
            if host.entry.service_bridge:
                host.shell.put(self.image.kernel, folder / "kernel")
                host.shell.put(self.image.initrd, folder / "initrd")
            self._staged.add(host.name)
        return folder

    def address(self, number: int) -> tuple[str, int]:
        """The service address of a guest and its prefix length."""
        network = self.inventory.service_network
        if network is None:
            raise UsageError(
                "the inventory has no migqual_service_network",
                remedy="give the guests a range of addresses on the service network",
            )
        mine = network.addresses[self.slot :: self.slots]
        return str(mine[number % len(mine)]), network.prefix

    @contextmanager
    def guest(
        self, spec: GuestSpec, host: Host, destination: Host | None = None
    ) -> Iterator[Guest]:
        """A guest that is up, with its load running; all of it is gone afterwards.

        `destination` is prepared too: the kernel and the folders that the guest names must be
        there before it can arrive.
        """
        if destination is not None:
            destination.shell.open()  # the journal names the guest there, too
        made = self.launch(spec, host)
        try:
            self.start(made, destination)
            yield made
        finally:
            self.remove(made)

    def start(self, guest: Guest, destination: Host | None = None) -> None:
        """Wait until the guest is up and start its load; make `destination` ready meanwhile."""
        if destination is not None:
            self.stage(destination)
            self._folders(guest, destination)
        if not guest.saved_macs:
            self._wait_booted(guest)
        with timed("start the load"):
            guest.start_load()

    @timed("boot")
    def _wait_booted(self, guest: Guest) -> None:
        deadline = Deadline(READY_SECONDS if guest.spec.image is None else IMAGE_SECONDS)
        guest.wait_ready(deadline)
        if guest.spec.image is not None:
            guest.wait_serving(deadline)

    def _folders(self, guest: Guest, destination: Host) -> None:
        """The folders of disks that are the source's own; the destination has its own too."""
        disks = zip(guest.spec.disks, guest.volumes, strict=True)
        own = [
            (disk, volume)
            for disk, volume in disks
            if disk.store is StoreKind.LOCAL and volume.type == "file"
        ]
        for folder in {volume.path.parent for disk, volume in own if not disk.folder}:
            destination.shell.run("mkdir", "-p", folder)
        for folder in {volume.path.parent for disk, volume in own if disk.folder}:
            guest.made.insert(0, self.volumes.folder(destination, folder))

    def launch(self, spec: GuestSpec, host: Host) -> Guest:
        """Make the volumes and bring the guest up as its spec says: restored from the saved state
        of its shape, which the first guest of a shape leaves behind, or booted. `start` has to
        follow.

        Where a host cannot save or restore, its guests boot, and `saved.trouble` says why.
        """
        state = self.saved.find(spec, host)
        while state is not None:
            try:
                return self._bring_up(self._name_guest(spec, host), state)
            except RestoreFailed as error:
                state = self.saved.replace(spec, host, error)
        return self.define(spec, host)

    def define(self, spec: GuestSpec, host: Host) -> Guest:
        """Make the volumes and boot the guest, without waiting for it."""
        return self._bring_up(self._name_guest(spec, host), None)

    def _save_shape(self, shape: GuestSpec, host: Host) -> SavedState:
        """Take the state of `shape` that the host keeps, or make one: boot a guest without
        addresses and save it. The file goes with this process's folder."""
        folder = self.stage(host)
        kept = KeptState(host, self.state_key(shape, host))
        path = folder / f"state-{kept.key}"
        with timed("take a kept state"):
            if kept.take(path):
                try:
                    return SavedState(host, path, read_head(host, path), kept)
                except ConnectionLost:
                    raise
                except HostError:  # not a whole save file: make it anew
                    kept.remove()
        guest = self._name_guest(shape, host)
        guest.address = ""
        self._bring_up(guest, None, LocalStore("saved states", folder))
        try:
            self._wait_booted(guest)
            with timed("save a state"):
                # what its boot left in free memory would be restored, and sent in each migration
                zeroed_mib = min(shape.memory_mib, ZEROED_MIB)
                guest.payload("zero-free", f"mib={zeroed_mib}", seconds=READY_SECONDS)
                guest.domain.save(path)
                kept.add(path)
            return SavedState(host, path, read_head(host, path))
        finally:
            self.remove(guest)

    def state_key(self, shape: GuestSpec, host: Host) -> str:
        """Name the state of `shape` on `host`, the same in every run."""
        guest = Guest(
            name="shape",
            uuid=str(uuid.UUID(int=0)),
            spec=shape,
            host=host,
            address="",
            macs=tuple(_mac("shape", 0, 0, nic) for nic in range(shape.nics)),
            volumes=tuple(Volume("file", PurePosixPath("/disk"), "") for _ in shape.disks),
        )
        xml = domain_xml.render(context(self._placement(guest, PurePosixPath("/shape"))))
        return compute_state_key(host, self.image.key, repr(shape), xml)

    def _name_guest(self, spec: GuestSpec, host: Host) -> Guest:
        number = next(self._numbers)
        name = f"mq-{self.run}-{self.slot}-{number}"
        address, prefix = self.address(number)
        return Guest(
            name=name,
            uuid=str(uuid.uuid4()),
            spec=spec,
            host=host,
            address=address,
            prefix=prefix,
            macs=tuple(_mac(self.run, self.slot, number, nic) for nic in range(spec.nics)),
            console=str(CONSOLE / f"{name}.console"),
        )

    def _bring_up(
        self, guest: Guest, state: SavedState | None, store: Store | None = None
    ) -> Guest:
        """Make its volumes, on `store` if given, and run it: from `state`, or by booting it."""
        folder = self.stage(guest.host)
        try:
            self._start_domain(guest, folder, state, store)
        except BaseException:
            self.remove(guest)
            raise
        return guest

    def _start_domain(
        self, guest: Guest, folder: PurePosixPath, state: SavedState | None, store: Store | None
    ) -> None:
        host, name = guest.host, guest.name
        with timed("make disks"):
            guest.volumes = tuple(self._volumes(guest, store))
        xml = domain_xml.render(context(self._placement(guest, folder)))
        for name_of_host in self.journal_hosts(host):
            guest.made.append(
                self.journal.record(
                    name_of_host, "domain", name, [("rm", "-f", "--", *_logs(guest))]
                )
            )
        with timed("restore" if state else "define and start"):
            _run_domain(guest, xml, state)

    def journal_hosts(self, host: Host) -> list[str]:
        """Where a guest that starts on `host` may come to be: its peers in the pairs."""
        found = {host.name: None}
        for pair in self.inventory.lanes:
            if host.name in {pair.source.name, pair.destination.name}:
                found |= {pair.source.name: None, pair.destination.name: None}
        return list(found)

    @timed("remove the guest")
    def remove(self, guest: Guest) -> None:
        """Remove the guest wherever it is, and its volumes."""
        self.volumes.remove(guest.made)
        guest.made.clear()

    def close(self) -> None:
        """Remove everything that the journal still names."""
        self.volumes.remove(list(reversed(self.journal.outstanding)))
        self.journal.close()

    def _volumes(self, guest: Guest, given: Store | None) -> Iterator[Volume]:
        for target, disk in zip(guest.spec.targets(), guest.spec.disks, strict=True):
            store = given or self.inventory.store(disk.store)
            volume, made = self.volumes.make(f"{guest.name}-{target}", disk, store, guest.host)
            guest.made += made
            yield volume

    def _placement(self, guest: Guest, folder: PurePosixPath) -> Placement:
        virt = "kvm" if self.inventory.acceleration is Acceleration.KVM else "qemu"
        networks = tuple(
            (mac, "" if at or not guest.address else f"{guest.address}/{guest.prefix}")
            for at, mac in enumerate(guest.macs)
        )
        root, seed = self._system(guest, networks)
        return Placement(
            name=guest.name,
            uuid=guest.uuid,
            spec=guest.spec,
            arch=Architecture(str(guest.host.libvirt.node()["arch"])),
            virt=virt,
            folder=folder,
            networks=networks,
            volumes=guest.volumes,
            bridge=guest.host.entry.service_bridge,
            console=guest.console,
            cpu=self.inventory.guest_cpu or ("host-passthrough" if virt == "kvm" else ""),
            emulator=guest.host.entry.emulator,
            root=root,
            seed=seed,
        )

    def _system(
        self, guest: Guest, networks: tuple[tuple[str, str], ...]
    ) -> tuple[Volume | None, PurePosixPath | None]:
        """The system disk and the seed of a guest that brings an image of its own; both hosts
        must see them, so they lie in the shared directory."""
        image = guest.spec.image
        if image is None:
            return None, None
        store = self.inventory.store(StoreKind.DIRECTORY)
        seed_file = cloud_seed(
            guest.name, networks, self.image.payload, cache=places.cache(), port=SESSION_PORT
        )
        if not isinstance(store, DirectoryStore):
            raise UsageError("a guest with an image of its own needs a directory store")
        paths = [store.path / f"{guest.name}-{kind}" for kind in ("root.qcow2", "seed.iso")]
        for path, source in zip(paths, (image, seed_file), strict=True):
            undo = [("rm", "-f", "--", str(path))]
            guest.made.append(self.journal.record(guest.host.name, "image", str(path), undo))
            guest.host.shell.put(source, path)
        return Volume("file", paths[0], guest.host.name), paths[1]


def _run_domain(guest: Guest, xml: str, state: SavedState | None) -> None:
    libvirt = guest.host.libvirt
    persistent = guest.spec.persistence is Persistence.PERSISTENT
    defined = libvirt.define(xml) if persistent else None
    if state is not None:
        state.restore(xml)
        guest.saved_macs = state.head.macs
    elif defined is not None:
        defined.start()
    else:
        libvirt.create(xml)


def _mac(run: str, slot: int, number: int, nic: int) -> str:
    seed = uuid.uuid5(uuid.NAMESPACE_OID, f"{run}/{slot}/{number}/{nic}").bytes
    return "52:54:00:" + ":".join(f"{byte:02x}" for byte in seed[:3])


def _logs(guest: Guest) -> tuple[str, ...]:
    """Files that libvirt writes for a guest and leaves, the source's UEFI variables included."""
    variables = (str(NVRAM / f"{guest.name}_VARS.{suffix}") for suffix in ("fd", "qcow2"))
    return guest.console, str(CONSOLE / f"{guest.name}.log"), *variables
