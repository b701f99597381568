"""What emulation needs so that no page of a guest is overlooked."""

import re

import pytest

from fixtures.plugins.guests import MakeGuest
from migqual.deadline import Deadline
from migqual.hosts.guest import Guest
from migqual.model.guest import GuestSpec, Load, MemoryLoad

pytestmark = pytest.mark.oracle

# Its writer never rests: nothing else in such a guest makes QEMU forget its TLB.
BUSY = GuestSpec(load=Load("busy", memory=MemoryLoad(mib=32, rate_mib_s=None)))
FLUSHES = 100


def test_an_emulated_guest_makes_qemu_forget_its_tlb(make_guest: MakeGuest) -> None:
    """
    A page that QEMU forgot to watch does not stay so: the emulated TLBs are dropped all the time.

    Preconditions: none; under KVM there is no such TLB.
    Expected: a hundred flushes within ten seconds under TCG; under KVM the guest does nothing of
    the kind.
    """
    guest = make_guest(BUSY)
    if guest.domain.virt() == "kvm":
        assert "migqual.emulated" not in guest.domain.live_xml()
        return

    before = flushes(guest)

    Deadline(10).wait_for("a hundred flushes", lambda: flushes(guest) >= before + FLUSHES)


def flushes(guest: Guest) -> int:
    """How often QEMU has dropped a TLB or a part of it since the guest began, all vCPUs."""
    words = {"command-line": "info jit"}
    text = str(guest.domain.monitor("human-monitor-command", **words))
    counts = re.findall(r"TLB (?:full|partial) flushes +(\d+)", text)
    assert len(counts) == 2, text
    return sum(map(int, counts))
