"""Measure how much longer a migration by migqual with observers takes than `virsh migrate`."""

import time
from collections.abc import Callable
from dataclasses import dataclass

from migqual.bench.comparison import (
    compute_median_ratio,
    format_table,
    run_tool,
)
from migqual.hosts.guest import Guest
from migqual.hosts.host import Host
from migqual.inventory.entities import Inventory
from migqual.migration.migrate import build_endpoint
from migqual.model import libvirt_call
from migqual.model.guest_spec import GuestSpec
from migqual.model.plan import Plan
from migqual.testbed.connection import connect_testbed
from migqual.testbed.testbed import Testbed


@dataclass(frozen=True)
class OverheadTimes:
    """The wall times of migrations in s, one value for each round.

    Attributes:
        virsh_s: Times of `virsh migrate`.
        observed_s: Times of migrations by migqual while all observers run.
        with_checks_s: Times of the migrations in `observed_s`, together with the observation
            before the migration (baseline window) and all checks after the migration.
    """

    virsh_s: tuple[float, ...]
    observed_s: tuple[float, ...]
    with_checks_s: tuple[float, ...]


def measure_overhead(
    inventory: Inventory, *, rounds: int, memory_mib: int, report_progress: Callable[[str], None]
) -> OverheadTimes:
    """Measure the wall times of migrations of an idle guest, with virsh and with migqual.

    Each round has one migration by virsh without observers, and one by migqual with observers. The
    order alternates from round to round.

    Args:
        inventory: The inventory with the pair and the client.
        rounds: Number of rounds.
        memory_mib: Memory of the guest in MiB.
        report_progress: Function that receives a line of text after each round.
    """
    with connect_testbed(inventory) as testbed:
        guest = testbed.make_guest(GuestSpec(memory_mib=memory_mib))
        return _alternate_migrations(testbed, guest, rounds, report_progress)


def _alternate_migrations(
    testbed: Testbed, guest: Guest, rounds: int, report_progress: Callable[[str], None]
) -> OverheadTimes:
    virsh_s: list[float] = []
    observed_s: list[float] = []
    with_checks_s: list[float] = []

    def migrate_with_virsh() -> None:
        virsh_s.append(measure_virsh_migration(guest, testbed.pair.get_peer(guest.host), Plan()))

    def migrate_observed() -> None:
        started_at = time.monotonic()
        observed_s.append(testbed.migrate(guest, Plan()).seconds)
        with_checks_s.append(time.monotonic() - started_at)

    migrate_with_virsh()  # the first migration of each tool does not count: caches are empty
    migrate_observed()
    for times in (virsh_s, observed_s, with_checks_s):
        times.clear()
    for round_index in range(rounds):
        order = (
            (migrate_with_virsh, migrate_observed)
            if round_index % 2 == 0
            else (migrate_observed, migrate_with_virsh)
        )
        for step in order:
            step()
        report_progress(
            f"round {round_index + 1:3}  wall time of the migration: virsh {virsh_s[-1]:.3f} s, "
            f"migqual with observers {observed_s[-1]:.3f} s"
        )
    return OverheadTimes(tuple(virsh_s), tuple(observed_s), tuple(with_checks_s))


def measure_virsh_migration(guest: Guest, destination: Host, plan: Plan) -> float:
    """Run `virsh migrate` with the flags and parameters of the plan; return the wall time in s."""
    argv = libvirt_call.build_virsh_migrate(
        plan,
        guest.spec.persistence,
        source_uri=guest.host.libvirt.uri,
        domain=guest.name,
        endpoint=build_endpoint(destination, plan),
    )
    started_at = time.monotonic()
    run_tool(argv)
    seconds = time.monotonic() - started_at
    guest.set_host(destination)
    return seconds


def format_overhead(overhead: OverheadTimes) -> list[str]:
    """Format the output of `migqual bench overhead`.

    The last line is the median wall time of the migrations by migqual with observers, divided by
    the median wall time of the migrations by `virsh migrate`.
    """
    rows = [("virsh migrate", overhead.virsh_s), ("migqual with observers", overhead.observed_s)]
    rows.append(("with baseline and checks", overhead.with_checks_s))
    observed_ratio = compute_median_ratio(overhead.observed_s, overhead.virsh_s)
    with_checks_ratio = compute_median_ratio(overhead.with_checks_s, overhead.virsh_s)
    return [
        *format_table(rows),
        f"median with baseline and checks / median of virsh, ratio: {with_checks_ratio:.2f}",
        f"median of migqual / median of virsh, ratio: {observed_ratio:.2f}",
    ]
