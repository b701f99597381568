"""A guest that does not converge by itself."""

from migqual.model.guest import GuestSpec, Load, MemoryLoad, Pattern
from migqual.model.outcome import Outcome

# Dirtied as fast as the CPU allows, faster than the link may carry: it cannot converge by itself,
# and less CPU means less dirtying. The working set is three times what fits into QEMU's default
# downtime at this bandwidth: bursts above the limit must not let it slip through.
RESTLESS = GuestSpec(
    load=Load(
        "restless",
        memory=MemoryLoad(mib=32, rate_mib_s=None, pattern=Pattern.SEQUENTIAL),
    )
)
BANDWIDTH_MIB_S = 32
# Time for two rounds, also where QEMU takes seconds to start and the first round has 5 s.
HOPELESS_S = 15.0


def iterations(outcome: Outcome) -> int:
    """Rounds of pre-copy that the job told of."""
    return max((int(s.stats.get("memory_iteration", 0)) for s in outcome.samples), default=0)
