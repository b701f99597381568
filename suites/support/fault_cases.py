"""Migrations during which a fault is injected: the plan, the guest and the phase of the fault."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import pytest

from migqual.errors import MigrationError
from migqual.hosts.guest import Guest
from migqual.model.guest_spec import GuestSpec
from migqual.model.migration_phase import MigrationPhase
from migqual.model.plan import Control, Plan
from migqual.testbed.observers import ObservedMigration
from migqual.testbed.testbed import Testbed, raise_violations
from suites.support.convergence import BANDWIDTH_MIB_S, NON_CONVERGING
from suites.support.disks import COPY_PLAN, LOCAL_DISK, fill_disk

POWER_TEST_SECONDS = 1200  # limit of a test in which a host boots: a server takes minutes
_DISK_DATA_MIB = 40
_DISK_DATA_OFFSET_MIB = 20  # behind the blocks that the guest load writes


@dataclass(frozen=True)
class FaultCase:
    """A migration during which a fault is injected.

    Attributes:
        name: Name of the case in the test id.
        phase: The phase in which the fault is injected.
        plan: Settings of the migration.
        spec: Specification of the guest.
    """

    name: str
    phase: MigrationPhase = MigrationPhase.FIRST_ITERATION
    plan: Plan = field(default_factory=Plan)
    spec: GuestSpec = field(default_factory=GuestSpec)

    def __str__(self) -> str:
        return self.name

    def make_guest(self, testbed: Testbed) -> Guest:
        """Make the guest that migrates in this case.

        For a fault in the phase DISK_COPY, the disk gets random data, so that there is data to
        copy.
        """
        guest = testbed.make_guest(self.spec)
        if self.phase is MigrationPhase.DISK_COPY:
            fill_disk(guest, "vda", _DISK_DATA_OFFSET_MIB, _DISK_DATA_MIB)
        return guest


def require_guest_at_source(testbed: Testbed, guest: Guest, migration: ObservedMigration) -> None:
    """Require that the migration failed, and that the guest is intact at the source.

    Raises:
        ViolationError: A check of the guest or of the hosts found a problem.
    """
    raise_violations(migration.violations)
    assert isinstance(migration.error, MigrationError)
    assert guest.host is testbed.source


def build_case_parameters(cases: Iterable[FaultCase], slow_cases: Iterable[FaultCase]) -> list[Any]:
    """Build the parameters of a test: all cases, and the slow ones with the marker `slow`."""
    return [
        *(pytest.param(case) for case in cases),
        *(pytest.param(case, marks=pytest.mark.slow) for case in slow_cases),
    ]


# For one connection, libvirt connects before QEMU begins; several connections are made by QEMU.
SETUP = FaultCase("setup", MigrationPhase.SETUP, Plan(channels=2))
FIRST_ITERATION = FaultCase("first-iteration")
LATER_ITERATION = FaultCase(
    "later-iteration",
    MigrationPhase.LATER_ITERATION,
    Plan(bandwidth_mib_s=BANDWIDTH_MIB_S),
    NON_CONVERGING,
)
SWITCH_OVER = FaultCase("switch-over", MigrationPhase.SWITCH_OVER)
DISK_COPY = FaultCase(
    "disk-copy", MigrationPhase.DISK_COPY, COPY_PLAN, GuestSpec(disks=(LOCAL_DISK,))
)
COPIED_DISKS = FaultCase("copied-disks", plan=COPY_PLAN, spec=GuestSpec(disks=(LOCAL_DISK,)))
DIRECT = FaultCase("direct", plan=Plan(control=Control.DIRECT))
CHANNELS = FaultCase("channels", plan=Plan(channels=4))
ENCRYPTED = FaultCase("encrypted", plan=Plan(tls=True))
