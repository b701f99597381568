"""Define sizes of guests that the users run.

The sizes are in `guests` of a profile or in `migqual_guests` of an inventory. A test migrates a
guest of each size. Without a description migqual chooses a size that fits the hosts.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from migqual.inventory.field_types import LocalPath, Name, WholeNumber
from migqual.yaml_file import StrictModel

DiskBusName = Literal["virtio", "scsi", "sata"]
_PAGE_KIB = {"64K": 64, "2M": 2048, "32M": 32768, "512M": 524288, "1G": 1048576}


class GuestSize(StrictModel):
    """The size of a guest.

    Attributes:
        name: Name in the ids of tests.
        memory_mib: Guest memory in MiB.
        huge_pages: Size of the huge pages that back the memory. None means normal pages.
        numa_nodes: Number of NUMA nodes, each with an equal share of vCPUs and memory. 0 means no
            NUMA.
        disk_buses: The guest has a disk on each bus in the list.
        image: qcow2 image of a system that boots with UEFI and runs cloud-init. None means the
            kernel and initramfs of migqual.
    """

    name: Name
    vcpus: Annotated[WholeNumber, Field(ge=1, le=4096)]
    memory_mib: Annotated[WholeNumber, Field(ge=128)]
    huge_pages: Literal["64K", "2M", "32M", "512M", "1G"] | None = None
    numa_nodes: Annotated[WholeNumber, Field(ge=0, le=64)] = 0
    disk_buses: tuple[DiskBusName, ...] = ("virtio",)
    image: LocalPath | None = None

    @property
    def huge_page_kib(self) -> int:
        """Return the size of the huge pages in KiB, or 0 for normal pages."""
        return _PAGE_KIB[self.huge_pages] if self.huge_pages else 0

    @model_validator(mode="after")
    def _check_shares(self) -> "GuestSize":
        nodes = self.numa_nodes or 1
        if self.vcpus % nodes or self.memory_mib % nodes:
            raise ValueError(
                f"vcpus and memory_mib must be multiples of numa_nodes ({self.numa_nodes})"
            )
        if self.huge_page_kib and self.memory_mib // nodes * 1024 % self.huge_page_kib:
            raise ValueError(
                f"memory_mib must be a multiple of huge_pages ({self.huge_pages}); with NUMA "
                "nodes, the memory of each node must be a multiple of huge_pages too"
            )
        if "sata" in self.disk_buses and self.image is None:
            raise ValueError(
                "disk_buses: sata needs an image, because migqual's kernel has no AHCI driver; "
                "set the key image to a qcow2 image, or remove sata"
            )
        return self


def _check_names(sizes: tuple[GuestSize, ...]) -> tuple[GuestSize, ...]:
    names = [size.name for size in sizes]
    if duplicates := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(f"several guests have the name {', '.join(duplicates)}")
    return sizes


GuestSizes = Annotated[tuple[GuestSize, ...], AfterValidator(_check_names)]


def resolve_images(sizes: Sequence[GuestSize], folder: Path) -> tuple[GuestSize, ...]:
    """Return the sizes with absolute paths of images. A relative path starts at `folder`."""
    return tuple(
        size.model_copy(update={"image": folder / size.image}) if size.image else size
        for size in sizes
    )


def find_image_problems(sizes: Sequence[GuestSize], folder: Path) -> Iterator[tuple[int, str]]:
    """Find missing images; yield for each the position of the guest in `sizes` and a message."""
    for index, size in enumerate(resolve_images(sizes, folder)):
        if size.image is not None and not size.image.is_file():
            yield index, f"{size.image} is not a file"
