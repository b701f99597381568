"""The safety check of libvirt, and the option `--unsafe`."""

import pytest

from fixtures.plugins.stack_messages import RecordStackMessage
from migqual.errors import MigrationRefused
from migqual.inventory.stores import StoreKind
from migqual.model.finding import Severity
from migqual.model.guest_spec import CacheMode, DiskSpec, GuestSpec
from migqual.model.plan import Plan, Safety
from migqual.preflight.run import run_preflight_checks
from migqual.testbed.testbed import Testbed
from suites.support.stack_refusals import expect_stack_refusal


@pytest.mark.requirement("LM-SHR-02")
@pytest.mark.parametrize(
    "cache", [CacheMode.WRITEBACK, pytest.param(CacheMode.UNSAFE, marks=pytest.mark.slow)], ids=str
)
def test_risky_cache_mode_needs_unsafe(
    cache: CacheMode, testbed: Testbed, record_stack_message: RecordStackMessage
) -> None:
    """
    A guest with a risky cache mode migrates without `--unsafe` only if libvirt trusts the storage.

    Preconditions: a directory shared by both hosts. The disk has the cache mode `writeback` or
    `unsafe`: the host caches disk data, which the other host does not see.
    Expected: if libvirt does not recognize the file system as shared, libvirt refuses the
    migration as unsafe before any data moves. The guest is unharmed, and migrates with `--unsafe`.
    If libvirt recognizes the file system as shared, for example NFS, the guest migrates without
    `--unsafe`, because QEMU drops cached data. In both cases no acknowledged write is lost.
    """
    guest = testbed.make_guest(GuestSpec(disks=(DiskSpec(StoreKind.DIRECTORY, cache=cache),)))
    if testbed.is_shared_directory_trusted:
        testbed.migrate(guest, Plan(safety=Safety.CHECKED))
        return

    message = expect_stack_refusal(testbed, guest, Plan(safety=Safety.CHECKED), MigrationRefused)

    record_stack_message("unsafe-cache-mode", message)
    testbed.migrate(guest, Plan(safety=Safety.UNSAFE))


@pytest.mark.requirement("LM-SHR-02")
@pytest.mark.parametrize("store", [StoreKind.DIRECTORY, StoreKind.NBD], ids=str)
def test_preflight_predicts_the_safety_check(
    store: StoreKind, testbed: Testbed, record_stack_message: RecordStackMessage
) -> None:
    """
    Preflight warns of a disk that libvirt's safety check refuses, and of no other disk.

    Preconditions: the guest's disk is in a directory shared by both hosts, or on an NBD export.
    The directory may be on any file system, for example NFS.
    Expected: if preflight warns, libvirt refuses the migration without `--unsafe`. If preflight
    does not warn, the guest migrates without `--unsafe`.
    """
    guest = testbed.make_guest(GuestSpec(disks=(DiskSpec(store),)))
    verdicts = {
        finding.id: finding.severity
        for finding in run_preflight_checks(
            guest.name, *testbed.hosts, testbed.probe_context, Plan()
        )
    }

    if verdicts["LM-SHR-02.safety"] is Severity.WARNING:
        message = expect_stack_refusal(
            testbed, guest, Plan(safety=Safety.CHECKED), MigrationRefused
        )
        record_stack_message("unsafe-cache-mode", message)
    else:
        testbed.migrate(guest, Plan(safety=Safety.CHECKED))
        assert guest.host is testbed.destination


@pytest.mark.requirement("LM-SHR-02")
@pytest.mark.parametrize("store", [StoreKind.NBD, StoreKind.ISCSI], ids=str)
@pytest.mark.parametrize("safety", list(Safety), ids=str)
def test_network_disks_pass_the_check(store: StoreKind, safety: Safety, testbed: Testbed) -> None:
    """
    A guest on network disks migrates with the safety check on, and with the check off.

    Preconditions: both hosts reach the storage host.
    Expected: the guest migrates with and without `--unsafe`.
    """
    guest = testbed.make_guest(GuestSpec(disks=(DiskSpec(store),)))

    testbed.migrate(guest, Plan(safety=safety))

    assert guest.host is testbed.destination
