"""Build the specification of a guest with the size that a profile or an inventory describes."""

from collections.abc import Sequence

from migqual.inventory.entities import Inventory
from migqual.inventory.guest_size import GuestSize
from migqual.inventory.stores import StoreKind
from migqual.model.guest_spec import (
    DiskBus,
    DiskSpec,
    GuestLoad,
    GuestSpec,
    MemoryLoad,
    StartMode,
)
from migqual.model.profile import Profile

FITTED_NAME = "fitted"
MAX_FITTED_VCPUS = 4
MIN_FITTED_MIB, MAX_FITTED_MIB = 256, 8192
# Without KVM, QEMU turns on the dirty log slowly: the guest stops for a second per GiB of memory.
MAX_EMULATED_MIB = 512
MIN_LOAD_MIB, MAX_LOAD_MIB = 32, 1024
_SHARED_KINDS = (StoreKind.DIRECTORY, StoreKind.NBD, StoreKind.ISCSI)


def list_guest_sizes(inventory: Inventory | None, profile: Profile) -> tuple[GuestSize, ...]:
    """List the sizes of the guests that a run must test.

    The sizes come from the inventory. If the inventory describes no guests, the sizes come from
    the profile. If the profile describes no guests either, the result is empty, and the caller
    chooses a size with `fit_guest_size`.
    """
    return (inventory.guests if inventory else ()) or profile.guests


def fit_guest_size(cpus: int, available_mib: int, *, is_emulated: bool = False) -> GuestSize:
    """Choose a size that fits the hosts: up to four vCPUs, and an eighth of the free memory.

    The guest has at least 256 MiB of memory. A guest with KVM has at most 8 GiB, and an emulated
    guest has at most 512 MiB.

    Args:
        cpus: Number of CPUs of the host with the fewest CPUs.
        available_mib: Memory in MiB that a new process can use on the host with the least
            available memory.
        is_emulated: Whether the guests run without KVM.
    """
    max_mib = MAX_EMULATED_MIB if is_emulated else MAX_FITTED_MIB
    share_mib = available_mib // 8 // 64 * 64
    return GuestSize(
        name=FITTED_NAME,
        vcpus=min(MAX_FITTED_VCPUS, cpus),
        memory_mib=min(max(share_mib, MIN_FITTED_MIB), max_mib),
        disk_buses=("virtio", "scsi"),
    )


def build_sized_guest(size: GuestSize, store_kinds: Sequence[StoreKind]) -> GuestSpec:
    """Build the specification of a guest with the given size.

    The guest has a disk on each bus in `size.disk_buses`. The guest writes an eighth of its memory
    once, and migqual checks this memory after each migration.

    Args:
        size: Size of the guest.
        store_kinds: Kinds of the inventory's stores. All disks of the guest are on one store: a
            shared directory if the inventory has one, else an NBD server, else an iSCSI server.
            Without a store of these kinds, the guest has no disks.
    """
    shared_kind = next((kind for kind in _SHARED_KINDS if kind in store_kinds), None)
    buses = size.disk_buses if shared_kind is not None else ()
    load_mib = min(max(size.memory_mib // 8, MIN_LOAD_MIB), MAX_LOAD_MIB)
    return GuestSpec(
        memory_mib=size.memory_mib,
        vcpus=size.vcpus,
        huge_page_kib=size.huge_page_kib,
        numa_nodes=size.numa_nodes,
        disks=tuple(DiskSpec(shared_kind, bus=DiskBus(bus)) for bus in buses if shared_kind),
        image=size.image,
        load=GuestLoad(f"size-{size.name}", memory=MemoryLoad(size_mib=load_mib)),
        start_mode=StartMode.BOOTED,  # the saved state of a large guest would fill the host's disk
    )
