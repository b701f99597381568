"""Choose the memory size of emulated guests, so that QEMU before 9.0 misses no write of a guest."""

from migqual.errors import GuestError
from migqual.hosts.host import Host
from migqual.model.guest_spec import GuestSpec

# The first QEMU release without the bug that `compute_tcg_memory_kib` describes.
FIRST_SOUND_RELEASE = (9, 0)


def compute_tcg_memory_kib(spec: GuestSpec) -> int:
    """Compute the memory of a TCG guest in KiB, which is the memory of the spec plus 8 KiB.

    QEMU before 9.0 with TCG has a bug with memory blocks whose size is a multiple of 256 KiB.
    QEMU collects the dirty pages of such a block in groups of 64, and does not notify the emulated
    TLBs. QEMU then misses later writes to the pages, and the destination gets old memory.
    The additional 8 KiB avoid the bug, because QEMU collects a block of another size page by page.
    KVM guests are not affected, and get exactly the memory of the spec.
    """
    return spec.memory_mib * 1024 + 8


def has_own_memory_layout(spec: GuestSpec) -> bool:
    """Return whether huge pages or NUMA nodes decide the sizes of the guest's memory blocks."""
    return bool(spec.huge_page_kib or spec.numa_nodes)


def check_tcg_memory(host: Host, spec: GuestSpec) -> None:
    """Check that a bug of old QEMU releases cannot damage an emulated guest on the host.

    QEMU before 9.0 can miss memory writes during a migration. The destination then gets old memory.
    An emulated guest normally has the memory size of `compute_tcg_memory_kib`, which avoids the
    bug. A guest with huge pages or NUMA nodes cannot have this size, and needs QEMU 9.0 or later.

    Raises:
        GuestError: The host's QEMU is older than 9.0, and the guest has huge pages or NUMA nodes.
    """
    if not has_own_memory_layout(spec):
        return
    version = host.query_versions()["qemu"]
    if tuple(int(part) for part in version.split(".")[:2]) < FIRST_SOUND_RELEASE:
        raise GuestError(
            f"QEMU {version} of {host.name} does not send all changed memory of an emulated guest "
            "with huge pages or NUMA nodes, so a migration would damage the guest",
            remedy="use KVM, or QEMU 9.0 or later",
        )
