"""Make guests, and remove them. Everything is in the journal before it is on a host."""

import itertools
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any

from migqual.deadline import Deadline
from migqual.errors import UsageError
from migqual.hosts import domain_xml
from migqual.hosts.guest import SESSION_PORT, Guest
from migqual.hosts.host import Host
from migqual.hosts.journal import Journal
from migqual.hosts.volume import Volume, Volumes
from migqual.image.guest import GuestImage, kernel_arguments
from migqual.model.guest import GuestSpec, Persistence
from migqual.model.inventory import Acceleration, Inventory

READY_SECONDS = 30.0
IMAGE_SECONDS = 240.0
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

    @property
    def volumes(self) -> Volumes:
        return Volumes(self.journal, self.hosts)

    def folder(self, host: Host) -> PurePosixPath:
        """This process's own folder on a host; removed at the end."""
        return host.entry.scratch / f"mq-{self.run}-{self.slot}"

    def stage(self, host: Host) -> PurePosixPath:
        """Copy kernel, initramfs and payload to the host once; returns their folder."""
        folder = self.folder(host)
        if host.name not in self._staged:
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
        made = self.define(spec, host)
        try:
            self.start(made, destination)
            yield made
        finally:
            self.remove(made)

    def start(self, guest: Guest, destination: Host | None = None) -> None:
        """Wait until the guest is up and start its load; make `destination` ready meanwhile."""
        if destination is not None:
            self.stage(destination)
        guest.wait_ready(Deadline(READY_SECONDS if guest.spec.image is None else IMAGE_SECONDS))
        guest.start_load()

    def define(self, spec: GuestSpec, host: Host) -> Guest:
        """Make the volumes and start the guest, without waiting for it."""
        number = next(self._numbers)
        name = f"mq-{self.run}-{self.slot}-{number}"
        folder = self.stage(host)
        address, prefix = self.address(number)
        guest = Guest(
            name=name,
            uuid=str(uuid.uuid4()),
            spec=spec,
            host=host,
            address=address,
            macs=tuple(_mac(self.run, self.slot, number, nic) for nic in range(spec.nics)),
            console=str(CONSOLE / f"{name}.console"),
        )
        try:
            self._start_domain(guest, folder, prefix)
        except BaseException:
            self.remove(guest)
            raise
        return guest

    def _start_domain(self, guest: Guest, folder: PurePosixPath, prefix: int) -> None:
        host, name = guest.host, guest.name
        guest.volumes = tuple(self._volumes(guest))
        xml = domain_xml.render(self._context(guest, folder, prefix))
        for name_of_host in self.journal_hosts(host):
            guest.made.append(
                self.journal.record(
                    name_of_host, "domain", name, [("rm", "-f", "--", *_logs(guest))]
                )
            )
        if guest.spec.persistence is Persistence.PERSISTENT:
            host.libvirt.define(xml).start()
        else:
            host.libvirt.create(xml)

    def journal_hosts(self, host: Host) -> list[str]:
        """Where a guest that starts on `host` may come to be: its peers in the pairs."""
        found = {host.name: None}
        for pair in self.inventory.pairs:
            if host.name in {pair.source.name, pair.destination.name}:
                found |= {pair.source.name: None, pair.destination.name: None}
        return list(found)

    def remove(self, guest: Guest) -> None:
        """Remove the guest wherever it is, and its volumes."""
        self.volumes.remove(guest.made)
        guest.made.clear()

    def close(self) -> None:
        """Remove everything that the journal still names."""
        self.volumes.remove(list(reversed(self.journal.outstanding)))
        self.journal.close()

    def _volumes(self, guest: Guest) -> Iterator[Volume]:
        for target, disk in zip(guest.spec.targets(), guest.spec.disks, strict=True):
            store = self.inventory.store(disk.store)
            volume, made = self.volumes.make(f"{guest.name}-{target}", disk, store, guest.host)
            guest.made += made
            yield volume

    def _context(self, guest: Guest, folder: PurePosixPath, prefix: int) -> dict[str, Any]:
        spec, entry = guest.spec, guest.host.entry
        arch = str(guest.host.libvirt.node()["arch"])
        virt = "kvm" if self.inventory.acceleration is Acceleration.KVM else "qemu"
        direct = spec.image is None
        cpu = spec.cpu or self.inventory.guest_cpu or ("host-passthrough" if virt == "kvm" else "")
        disks = [
            {
                "spec": disk,
                "volume": volume,
                "target": target,
                "serial": f"{target}-{guest.name}"[:20],
            }
            for disk, volume, target in zip(spec.disks, guest.volumes, spec.targets(), strict=True)
        ]
        nics = [
            (mac, f"{guest.address}/{prefix}" if not at else "")
            for at, mac in enumerate(guest.macs)
        ]
        return {
            "name": guest.name,
            "uuid": guest.uuid,
            "spec": spec,
            "virt": virt,
            "odd_memory_kib": _odd_memory_kib(spec) if virt == "qemu" else 0,
            "arch": arch,
            "machine": spec.machine or {"aarch64": "virt"}.get(arch, "q35"),
            "firmware": spec.firmware.value,
            "kernel": folder / "kernel" if direct else None,
            "initrd": folder / "initrd" if direct else None,
            "cmdline": kernel_arguments(
                networks=nics, port=SESSION_PORT, shutdown_delay=spec.shutdown_delay_s, arch=arch
            ),
            "cpu": cpu,
            "emulator": entry.emulator,
            "disks": disks,
            "cdroms": [],
            "needs_scsi": any(disk.bus == "scsi" for disk in spec.disks),
            "nics": [{"mac": mac} for mac in guest.macs],
            "bridge": entry.service_bridge,
            "console_log": guest.console,
        }


def _mac(run: str, slot: int, number: int, nic: int) -> str:
    seed = uuid.uuid5(uuid.NAMESPACE_OID, f"{run}/{slot}/{number}/{nic}").bytes
    return "52:54:00:" + ":".join(f"{byte:02x}" for byte in seed[:3])


def _odd_memory_kib(spec: GuestSpec) -> int:
    """Guest memory under TCG: 8 KiB more than asked for, so that it is no multiple of 256 KiB.

    QEMU before 9.0 collects dirty pages of such blocks 64 at a time and then forgets to tell the
    emulated TLBs, so that the next writes to those pages are missed and the destination gets stale
    memory. A block that is no multiple takes the page-wise path, which does not forget. KVM does
    not use that path: hosts with acceleration get exactly the memory that the spec says.
    """
    return spec.memory_mib * 1024 + 8


def _logs(guest: Guest) -> tuple[str, ...]:
    """Files that libvirt writes for a guest and leaves, the source's UEFI variables included."""
    variables = (str(NVRAM / f"{guest.name}_VARS.{suffix}") for suffix in ("fd", "qcow2"))
    return guest.console, str(CONSOLE / f"{guest.name}.log"), *variables
