"""LM-RES-05: the store at the destination has no more space while disks are copied."""

from contextlib import ExitStack

import pytest

from fixtures.plugins.guests import RecordFigures
from fixtures.plugins.stack_messages import RecordStackMessage
from migqual.faults.store_faults import fill_space, limit_space
from migqual.inventory.stores import StoreKind
from migqual.model.guest_spec import CacheMode, DiskSpec, GuestSpec
from migqual.model.migration_phase import MigrationPhase
from migqual.testbed.held_migration import hold_migration
from migqual.testbed.testbed import Testbed
from suites.support.disks import COPY_PLAN
from suites.support.fault_cases import FaultCase, require_guest_at_source

STORE_MIB = 96  # more than the disk needs, so that preflight finds enough space
# Not every kernel can bypass the page cache on a file system in memory.
DISK = DiskSpec(StoreKind.LOCAL, cache=CacheMode.WRITEBACK, subfolder="full")
CASE = FaultCase("full-store", MigrationPhase.DISK_COPY, COPY_PLAN, GuestSpec(disks=(DISK,)))


@pytest.mark.requirement("LM-RES-05")
def test_guest_survives_a_full_store_at_the_destination(
    testbed: Testbed, record_figures: RecordFigures, record_stack_message: RecordStackMessage
) -> None:
    """
    The guest continues at the source when the store of the destination runs out of space.

    Preconditions: the disk of the guest is being copied. Then another program takes all free space
    of the folder with the new image.
    Expected: the migration fails with an error. The guest runs at the source with its memory and
    its disk intact, nothing is left at the destination, and the same migration succeeds when the
    store has space again.
    """
    guest = CASE.make_guest(testbed)
    journal, folder = testbed.probe_context.journal, guest.volumes[0].path.parent

    with (
        limit_space(journal, testbed.destination, folder, STORE_MIB),
        ExitStack() as stack,
        hold_migration(testbed, guest, CASE.plan, CASE.phase) as held,
    ):
        # the migration may fail while the last free space is being filled
        filled_space = fill_space(journal, held.destination, folder)
        held.inject_once("full store", lambda: stack.enter_context(filled_space))
        held.release()
        migration = held.wait_for_end()

    record_figures("full store at the destination", {"error": migration.outcome.message})
    require_guest_at_source(testbed, guest, migration)
    record_stack_message("full-store", migration.outcome.message)

    testbed.migrate(guest, CASE.plan)
