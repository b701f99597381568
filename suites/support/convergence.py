"""Guests whose memory changes too fast for pre-copy to converge."""

from typing import NoReturn

from migqual.errors import InconclusiveError
from migqual.hosts.guest import Guest
from migqual.migration.job_sampler import OnSample
from migqual.model.guest_spec import GuestLoad, GuestSpec, MemoryLoad, WritePattern, WrittenPart
from migqual.model.outcome import Outcome
from migqual.model.plan import Plan
from migqual.testbed.testbed import Testbed

BANDWIDTH_MIB_S = 48
# The guest changes a few bytes of each page, five times as fast as the link may carry the pages.
# The migration cannot converge, unless the guest loses most of its CPU time. The working set is
# twice the size that fits into QEMU's default downtime at this bandwidth. A round of the working
# set takes 0.7 s.
NON_CONVERGING = GuestSpec(
    load=GuestLoad(
        "non-converging",
        memory=MemoryLoad(
            size_mib=32,
            rate_mib_s=240,
            pattern=WritePattern.SEQUENTIAL,
            written_part=WrittenPart.HEADER,
        ),
    )
)
# Time for two rounds, even if QEMU takes seconds to start and the first round takes 4 s.
NON_CONVERGENCE_DEADLINE_S = 10.0

# The guest dirties whole pages as fast as the CPU allows. With less CPU time the guest dirties
# fewer pages, so the migration converges when the CPU is throttled. The working set is three
# times the size that fits into QEMU's default downtime at THROTTLING_BANDWIDTH_MIB_S: bursts
# above the bandwidth limit must not let the migration converge without a throttle.
CONVERGING_WHEN_THROTTLED = GuestSpec(
    load=GuestLoad(
        "converging-when-throttled",
        memory=MemoryLoad(size_mib=32, rate_mib_s=None, pattern=WritePattern.SEQUENTIAL),
    )
)
THROTTLING_BANDWIDTH_MIB_S = 32


def count_precopy_rounds(outcome: Outcome) -> int:
    """Return the number of pre-copy rounds reported by the job."""
    return max(((sample.stats.memory_iteration or 0) for sample in outcome.job_samples), default=0)


def expect_no_convergence(
    testbed: Testbed, guest: Guest, plan: Plan, *, on_sample: OnSample | None = None
) -> NoReturn:
    """Migrate a guest and expect the migration not to converge.

    The error of the migration passes through to the caller.

    Raises:
        MigrationError: The migration ended without the arrival of the guest, as expected.
        InconclusiveError: The guest arrived: too little CPU was left to dirty memory, so the
            test proves no result.
    """
    outcome = testbed.migrate(guest, plan, on_sample=on_sample)
    raise InconclusiveError(
        f"the migration converged after {outcome.seconds:.1f} s and "
        f"{count_precopy_rounds(outcome)} rounds: "
        "the guest had too little CPU time to dirty its memory fast enough"
    )
