"""Guests of the sizes that a profile or an inventory describes."""

from pathlib import Path

import pytest

from migqual.inventory.entities import Inventory
from migqual.inventory.guest_size import GuestSize
from migqual.inventory.stores import StoreKind
from migqual.model.guest_spec import DiskBus
from migqual.model.profile import Profile, load_profile
from migqual.model.sized_guest import build_sized_guest, fit_guest_size, list_guest_sizes
from suites.selftest.support.input_problems import list_input_problems

pytestmark = pytest.mark.selftest

DATABASE = GuestSize(
    name="database", vcpus=16, memory_mib=65536, numa_nodes=2, disk_buses=("virtio", "scsi")
)
PROFILE = """\
title: ours
extends: upstream
guests:
  - {name: database, vcpus: 16, memory_mib: 65536, huge_pages: 1G, numa_nodes: 2}
  - {name: desktop, vcpus: 4, memory_mib: 4096, image: desktop.qcow2}
"""


@pytest.mark.parametrize(
    ("cpus", "available_mib", "expected"),
    [(1, 1024, (1, 256)), (2, 9900, (2, 1216)), (128, 1_000_000, (4, 8192))],
)
def test_fitted_size(cpus: int, available_mib: int, expected: tuple[int, int]) -> None:
    """`fit_guest_size` chooses a guest size that fits the CPUs and the free memory of the hosts.

    The guest has up to four vCPUs. The guest memory is an eighth of the free memory of a host, but
    at least 256 MiB. The maximum is 8 GiB, or 512 MiB under emulation.
    """
    size = fit_guest_size(cpus, available_mib)

    assert (size.vcpus, size.memory_mib) == expected
    emulated_size = fit_guest_size(cpus, available_mib, is_emulated=True)
    assert emulated_size.memory_mib == min(512, expected[1])


def test_guest_has_the_described_size() -> None:
    """A guest has the vCPUs, memory and NUMA nodes of its size, and a disk on each bus.

    The disks are on shared storage. migqual verifies an eighth of the memory, but at most 1 GiB.
    """
    spec = build_sized_guest(DATABASE, [StoreKind.LOCAL, StoreKind.ISCSI])

    assert (spec.vcpus, spec.memory_mib, spec.numa_nodes) == (16, 65536, 2)
    assert [(disk.store, disk.bus) for disk in spec.disks] == [
        (StoreKind.ISCSI, DiskBus.VIRTIO),
        (StoreKind.ISCSI, DiskBus.SCSI),
    ]
    assert spec.load.memory.size_mib == 1024
    assert not spec.can_be_restored
    assert build_sized_guest(DATABASE, [StoreKind.LOCAL]).disks == ()


def test_inventory_overrides_the_profile() -> None:
    profile = Profile("ours", guests=(DATABASE,))
    own_size = GuestSize(name="own", vcpus=1, memory_mib=256)

    assert list_guest_sizes(Inventory({}, (), guests=(own_size,)), profile) == (own_size,)
    assert list_guest_sizes(Inventory({}, ()), profile) == (DATABASE,)
    assert list_guest_sizes(None, Profile("ours")) == ()


def test_guests_of_a_profile(tmp_path: Path) -> None:
    """The path of an image is relative to the folder of the profile."""
    (tmp_path / "ours.yml").write_text(PROFILE)
    (tmp_path / "desktop.qcow2").touch()

    database, desktop = load_profile(tmp_path / "ours.yml").guests

    assert (database.huge_page_kib, database.numa_nodes) == (1048576, 2)
    assert desktop.image == tmp_path / "desktop.qcow2"


@pytest.mark.parametrize(
    ("old_text", "new_text", "place", "message"),
    [
        ("vcpus: 16", "vcpus: 15", "guests[0]", "multiples of numa_nodes (2)"),
        ("memory_mib: 65536", "memory_mib: 1024", "guests[0]", "a multiple of huge_pages (1G)"),
        ("huge_pages: 1G", "huge_pages: 3G", "guests[0].huge_pages", "'1G'"),
        ("desktop.qcow2", "absent.qcow2", "guests[1].image", "absent.qcow2 is not a file"),
        ("name: desktop", "name: database", "guests", "several guests have the name database"),
        (
            "numa_nodes: 2",
            "disk_buses: [sata]",
            "guests[0]",
            "sata needs an image",
        ),
        ("vcpus: 4", "vcpu: 4", "guests[1]", "vcpu"),
    ],
)
def test_problem_of_a_guest_names_the_place(
    tmp_path: Path, old_text: str, new_text: str, place: str, message: str
) -> None:
    (tmp_path / "ours.yml").write_text(PROFILE.replace(old_text, new_text))
    (tmp_path / "desktop.qcow2").touch()

    problems = list_input_problems(load_profile, tmp_path / "ours.yml")

    assert any(place in problem and message in problem for problem in problems), problems
