"""LM-TLS-06: the threads of a migration are kept off the CPUs of the guest."""

from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from fixtures.plugins.encryption import Encryption
from fixtures.plugins.guests import MakeGuest
from fixtures.plugins.hosts import Pair
from fixtures.plugins.records import add_environment
from migqual.deadline import Deadline
from migqual.errors import InconclusiveError, UnsupportedError
from migqual.hosts import threads
from migqual.hosts.guest import Guest
from migqual.hosts.host import Host
from migqual.hosts.threads import Thread
from migqual.model.guest import GuestSpec, Load, MemoryLoad
from migqual.model.outcome import Outcome
from migqual.model.plan import Plan

Migrate = Callable[..., Outcome]

CHANNELS = 2
ALONE_MS = 3000
BUSY = GuestSpec(load=Load("busy", memory=MemoryLoad(mib=128)))
# slow enough that there is time to find the threads and to see what they take from the guest
PLAN = Plan(tls=True, channels=CHANNELS, bandwidth_mib_s=32)


@dataclass
class Pinning:
    """Pins the vCPUs to one CPU and the migration's threads to another, each once, as they come.

    pinned  by id
    kept    those of them that were read back where they should be, last
    astray  what was read back elsewhere
    """

    host: Host
    pid: int
    vcpu: frozenset[int]
    migration: frozenset[int]
    pinned: set[int] = field(default_factory=set)
    kept: dict[int, Thread] = field(default_factory=dict)
    astray: list[Thread] = field(default_factory=list)

    def look(self, _sample: object) -> bool:
        """Called with each sample; never aborts."""
        for one in threads.of(self.host, self.pid):
            if not one.is_vcpu and not one.migrates:
                continue
            wanted = self.vcpu if one.is_vcpu else self.migration
            if one.tid not in self.pinned:
                threads.pin(self.host, [one], wanted)
                self.pinned.add(one.tid)
            elif one.cpus == wanted:
                self.kept[one.tid] = one
            else:
                self.astray.append(one)
        return False

    def migrating(self) -> list[str]:
        """Names of the migration's threads that kept to their CPU."""
        return sorted(one.name for one in self.kept.values() if one.migrates)


@pytest.mark.requirement("LM-TLS-06")
@pytest.mark.long
def test_migration_threads_keep_to_their_cpu(
    encryption: Encryption,
    make_guest: MakeGuest,
    migrate: Migrate,
    pair: Pair,
    pytestconfig: pytest.Config,
) -> None:
    """
    The threads of an encrypted migration run on a CPU that the guest's vCPU does not use.

    Preconditions: at least two CPUs for the guest; several encrypted channels; the guest works.
    Expected: one thread a channel and the one that leads them are pinned, and so is the vCPU; both
    are read back while the migration goes on. What the guest loses with and without it is reported.
    """
    assert set(encryption.settings) == {host.name for host in pair.hosts}
    guest = make_guest(BUSY)
    vcpu, migration = two_cpus(guest)
    guest.payload("work", "start", "threads=1")

    alone = rate(guest)
    unpinned = rate(guest, lambda: migrate(guest, PLAN))
    migrate(guest, Plan())  # back, to begin where the other one did
    pinning = Pinning(guest.host, threads.running(guest), vcpu, migration)
    pinned = rate(guest, lambda: migrate(guest, PLAN, on_sample=pinning.look))

    assert pinning.astray == []
    if len(pinning.migrating()) <= CHANNELS or not any(t.is_vcpu for t in pinning.kept.values()):
        raise InconclusiveError(f"the migration was over before they were read back: {pinning}")
    slowdown = {
        "unpinned_percent": round(100 * (1 - unpinned / alone), 1),
        "pinned_percent": round(100 * (1 - pinned / alone), 1),
        "threads": pinning.migrating(),
    }
    add_environment(pytestconfig, f"slowdown of the vCPU {pair.id}", slowdown)


def two_cpus(guest: Guest) -> tuple[frozenset[int], frozenset[int]]:
    """A CPU for the guest and one for its migration, of those that its vCPU may use."""
    mine = [one for one in threads.of(guest.host, threads.running(guest)) if one.is_vcpu]
    allowed = sorted(mine[0].cpus)
    if len(allowed) < 2:
        raise UnsupportedError(f"{guest.host.name}: the guest has only CPU {allowed}")
    return frozenset(allowed[:1]), frozenset(allowed[1:2])


def rate(guest: Guest, during: Callable[[], object] | None = None) -> float:
    """Work per second of the guest's own clock while something happens, else for a while."""
    before = guest.payload("work", "status")
    if during is None:
        enough = before["elapsed_ms"] + ALONE_MS
        Deadline(60).wait_for(
            f"{guest.name} to work",
            lambda: guest.payload("work", "status")["elapsed_ms"] > enough,
            interval=0.5,
        )
    else:
        during()
    after = guest.payload("work", "status")
    seconds = float(after["elapsed_ms"] - before["elapsed_ms"]) / 1000
    return int(after["iterations"] - before["iterations"]) / seconds
