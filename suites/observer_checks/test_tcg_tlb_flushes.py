"""Emulated guests make QEMU flush the TLBs: migrations must not miss a dirty page."""

import re

import pytest

from migqual.deadline import Deadline
from migqual.hosts.guest import Guest
from migqual.model.guest_spec import GuestLoad, GuestSpec, MemoryLoad
from migqual.testbed.testbed import Testbed

pytestmark = pytest.mark.observer_check

# The memory load writes without a pause: no other activity in such a guest makes QEMU flush
# the TLBs.
BUSY_GUEST = GuestSpec(load=GuestLoad("busy", memory=MemoryLoad(size_mib=32, rate_mib_s=None)))
EXPECTED_FLUSHES = 100


def test_tcg_guest_makes_qemu_flush_its_tlb(testbed: Testbed) -> None:
    """
    A program in an emulated guest makes QEMU flush the emulated TLBs again and again.

    QEMU's emulator can miss writes to a page until the next flush. The flushes keep this time
    short.

    Preconditions: none. Under KVM no emulated TLB exists.
    Expected: under TCG, 100 flushes within 10 s. Under KVM, the program does not run.
    """
    guest = testbed.make_guest(BUSY_GUEST)
    if guest.domain.read_virt_type() == "kvm":
        assert "migqual.emulated" not in guest.domain.read_live_xml()
        return

    flushes_before = count_tlb_flushes(guest)

    Deadline(10).wait_for(
        f"{EXPECTED_FLUSHES} TLB flushes",
        lambda: count_tlb_flushes(guest) >= flushes_before + EXPECTED_FLUSHES,
    )


def count_tlb_flushes(guest: Guest) -> int:
    """Count the full and partial TLB flushes of all vCPUs since the start of the guest."""
    qmp_arguments = {"command-line": "info jit"}
    reply = str(guest.domain.run_qmp_command("human-monitor-command", **qmp_arguments))
    counts = re.findall(r"TLB (?:full|partial) flushes +(\d+)", reply)
    assert len(counts) == 2, reply
    return sum(map(int, counts))
