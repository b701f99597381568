"""A guest that does not converge by itself."""

from collections.abc import Callable
from typing import NoReturn

from migqual.errors import InconclusiveError
from migqual.hosts.guest import Guest
from migqual.model.guest import GuestSpec, Load, MemoryLoad, Pattern
from migqual.model.outcome import Outcome
from migqual.model.plan import Plan

BANDWIDTH_MIB_S = 48
# Changes a few bytes of each page, five times as fast as the link may carry the pages: it cannot
# converge, and less of its CPU is no help unless most is taken. The working set is twice
# what fits into QEMU's default downtime at this bandwidth, and a round of it takes 0.7 s.
NON_CONVERGING = GuestSpec(
    load=Load(
        "non-converging",
        memory=MemoryLoad(mib=32, rate_mib_s=240, pattern=Pattern.SEQUENTIAL, touch="header"),
    )
)
# Time for two rounds, also where QEMU takes seconds to start and the first round has 4 s.
HOPELESS_S = 10.0

# Dirtied as fast as the CPU allows, whole pages at a time: less CPU means less dirtying, so that it
# converges where its CPU is throttled. The working set is three times what fits into QEMU's default
# downtime at its bandwidth: bursts above the limit must not let it slip through.
RESTLESS = GuestSpec(
    load=Load(
        "restless",
        memory=MemoryLoad(mib=32, rate_mib_s=None, pattern=Pattern.SEQUENTIAL),
    )
)
RESTLESS_BANDWIDTH_MIB_S = 32


def iterations(outcome: Outcome) -> int:
    """Rounds of pre-copy that the job told of."""
    return max((int(s.stats.get("memory_iteration", 0)) for s in outcome.samples), default=0)


def try_in_vain(
    migrate: Callable[..., Outcome], guest: Guest, plan: Plan, **watch: object
) -> NoReturn:
    """Migrate a guest that is not to arrive; raises what the migration ends with. One that arrives
    all the same had no CPU to dirty its memory with: nothing was learnt."""
    outcome = migrate(guest, plan, **watch)
    raise InconclusiveError(
        f"the guest converged in {outcome.seconds:.1f} s, {iterations(outcome)} rounds: it got too "
        "little CPU to keep from it"
    )
