"""Guests of each size in the inventory or the profile move to the other host and back."""

import pytest

from migqual.hosts.guest import Guest
from migqual.inventory.guest_size import GuestSize
from migqual.model.plan import Plan
from migqual.model.profile import Profile
from migqual.model.profile_limits import find_exceeded_limits
from migqual.model.sized_guest import build_sized_guest
from migqual.testbed.testbed import Testbed

MIN_VISIBLE_MEMORY_RATIO = 0.8  # the kernel of a small guest keeps a tenth for itself


@pytest.mark.requirement("LM-CAP-01", "LM-CAP-02")
@pytest.mark.timeout(3600)
@pytest.mark.parametrize(
    "channels", [0, pytest.param(4, marks=pytest.mark.slow)], ids=["one-channel", "four-channels"]
)
def test_guest_of_each_size(
    channels: int, guest_size: GuestSize, testbed: Testbed, profile: Profile
) -> None:
    """
    A guest of each size in the inventory or the profile moves to the destination and back.

    Preconditions: both hosts have the memory, the CPUs and the huge pages of the guest.
    Expected: the guest has the size before and after each migration. If the size has huge
    pages, huge pages back the guest memory at both hosts. The guest does not boot again, and
    every checked page and every acknowledged block is intact. The longest gap (time without a
    reply of the guest) and the other figures of each migration are within the limits of the
    profile.
    """
    kinds = [store.kind for store in testbed.inventory.stores]
    spec = build_sized_guest(guest_size, kinds)
    guest = testbed.make_guest(spec)
    plan = Plan(channels=channels, safety=testbed.choose_safety(spec))
    check_size(guest, guest_size)

    for _ in range(2):
        outcome = testbed.migrate(guest, plan)
        assert find_exceeded_limits(outcome, profile.thresholds) == []
        check_size(guest, guest_size)

    assert guest.host is testbed.source


def check_size(guest: Guest, size: GuestSize) -> None:
    """Check vCPUs, memory and NUMA nodes from inside the guest, and huge pages on the host."""
    status = guest.query_payload_status()
    assert status["cpus"] == size.vcpus
    assert status["memory_kib"] >= size.memory_mib * 1024 * MIN_VISIBLE_MEMORY_RATIO
    assert status["memory_kib"] <= size.memory_mib * 1024
    if size.numa_nodes:
        assert status["numa_nodes"] == size.numa_nodes
    if size.huge_page_kib:
        assert measure_huge_page_mib(guest, size.huge_page_kib) >= size.memory_mib


def measure_huge_page_mib(guest: Guest, page_kib: int) -> int:
    """Measure how much memory of QEMU consists of pages of `page_kib` KiB, in MiB."""
    (pid,) = guest.host.list_qemu_pids(guest.name)
    smaps = guest.host.shell.run("cat", f"/proc/{pid}/smaps").stdout
    mapped_kib = total_kib = 0
    for line in smaps.splitlines():
        name, _, value = line.partition(":")
        if name == "Size":
            mapped_kib = int(value.split()[0])
        elif name == "KernelPageSize" and int(value.split()[0]) == page_kib:
            total_kib += mapped_kib
    return total_kib // 1024
