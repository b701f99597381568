"""Guests restored from a saved state are equal to booted guests."""

from dataclasses import replace

import pytest

from migqual.hosts.cached_state import CachedState
from migqual.hosts.guest import Guest
from migqual.inventory.stores import StoreKind
from migqual.model.guest_spec import DiskSpec, GuestSpec, StartMode
from migqual.model.plan import Plan, Safety
from migqual.predict.guest_measurement import sample_memory
from migqual.probes.probe_context import ProbeContext
from migqual.testbed.testbed import Testbed

pytestmark = pytest.mark.observer_check

DISKS = (DiskSpec(StoreKind.DIRECTORY),)
MIN_BOOT_MEMORY_MIB = 4  # memory that the boot fills and that the guest load does not use again
UNSAFE_PLAN = Plan(safety=Safety.UNSAFE)


def test_restored_and_booted_guests_are_the_same(testbed: Testbed) -> None:
    """
    Restored guests and booted guests have the same devices and pass the same migration checks.

    Preconditions: four guests with a disk, started in this order: restored, booted, restored,
    booted.
    Expected: every guest lists the same devices. Each guest migrates without damage to memory,
    disk and TCP session, and does not boot again. The restored guests started without a boot, and
    have fewer non-zero pages than the booted guests. The reason is that migqual zeroes the free
    memory of a guest before migqual saves the state of the guest.
    """
    starts = (StartMode.RESTORED, StartMode.BOOTED, StartMode.RESTORED, StartMode.BOOTED)
    devices, filled_mib = [], []

    for start in starts:
        guest = testbed.make_guest(GuestSpec(disks=DISKS, start_mode=start))
        filled_mib.append(measure_filled_mib(guest, testbed.probe_context))
        device_list = guest.run_payload_command("devices")["devices"]
        devices.append(
            sorted((device["kind"], device["name"], device["ok"]) for device in device_list)
        )
        outcome = testbed.migrate(guest, UNSAFE_PLAN)
        assert outcome.gap_report is not None
        assert outcome.gap_report.session_alive
        testbed.check_guests()

    assert {kind for kind, _, _ in devices[0]} >= {"disk", "nic"}
    assert devices == [devices[0]] * len(starts)
    assert testbed.provisioner.saved_states.restore_failures == {}
    restored_mib, booted_mib = max(filled_mib[0::2]), min(filled_mib[1::2])
    assert 0 < restored_mib < booted_mib - MIN_BOOT_MEMORY_MIB, filled_mib


def measure_filled_mib(guest: Guest, probe_context: ProbeContext) -> float:
    """Measure on the host how much guest memory is not in zero pages, in MiB."""
    memory_kib = guest.spec.memory_mib * 1024
    memory_sample = sample_memory(
        guest.host, guest.domain, memory_kib, probe_context, windows_s=(0.05,)
    )
    assert memory_sample is not None, "the memory of the QEMU process was not found"
    return memory_sample.nonzero_mib


def test_restored_guests_have_distinct_identities(testbed: Testbed) -> None:
    """
    Two guests restored from the same saved state share no identity.

    Preconditions: none.
    Expected: boot id, memory marker, MAC and address differ, as reported by the guest. Both
    guests answer on the service network at the same time, each guest under a different address.
    """
    first, second = (testbed.make_guest(GuestSpec()) for _ in range(2))

    assert first.boot_id != second.boot_id
    assert first.memory_marker != second.memory_marker
    for guest, other_guest in ((first, second), (second, first)):
        reported_devices = str(guest.run_payload_command("devices"))
        assert guest.macs[0] in reported_devices
        assert other_guest.macs[0] not in reported_devices


@pytest.mark.parametrize("size", ["20M", "100"], ids=["truncated-stream", "truncated-header"])
def test_damaged_cached_state_is_recreated(testbed: Testbed, size: str) -> None:
    """
    If a cached state is damaged, migqual replaces the state, and the guest still starts.

    A host may cache saved states for later runs. libvirt cannot restore a damaged state.

    Preconditions: the lab's hosts cache states. The file of a cached state is cut off after 20 MiB
    (in QEMU's stream) or after 100 bytes (in libvirt's header).
    Expected: migqual creates a new state and restores the guest from the new state. The guest
    runs. The new state is in the cache.
    """
    spec = GuestSpec(
        shutdown_delay_s=70 + testbed.pair.lane_number
    )  # a shape that no other test has
    cached_state = CachedState(
        testbed.source,
        testbed.provisioner.compute_state_key(spec.derive_saved_state_spec(), testbed.source),
    )
    testbed.provisioner.saved_states.find_or_create(spec, testbed.source)
    testbed.source.shell.run("truncate", f"--size={size}", cached_state.path)
    later_run = replace(testbed.provisioner)  # a run that has no states yet

    with later_run.running_guest(spec, testbed.source) as guest:
        assert guest.query_payload_status()["boot_id"] == guest.boot_id

    saved_state = later_run.saved_states.find_or_create(spec, testbed.source)
    assert saved_state is not None
    assert saved_state.cached_state is None
    assert later_run.saved_states.restore_failures == {}
    size_bytes = int(testbed.source.shell.run("stat", "--format=%s", cached_state.path).stdout)
    assert size_bytes > 20 << 20
