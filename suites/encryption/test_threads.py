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
    """Pins the vCPUs to one CPU and the migration's threads to another, once they are there."""

    host: Host
    pid: int
    vcpu: frozenset[int]
    migration: frozenset[int]
    seen: dict[str, Thread] = field(default_factory=dict)

    def look(self, _sample: object) -> bool:
        """Called with each sample; never aborts. Threads come one after the other: it is done when
        every one that is there is where it should be."""
        if self.seen:
            return False
        found = threads.of(self.host, self.pid)
        astray = [one for one in found if one.cpus != self.wanted(one)]
        for one in astray:
            threads.pin(self.host, [one], self.wanted(one))
        if not astray and sum(one.migrates for one in found) > CHANNELS:
            self.seen = {one.name: one for one in found}
        return False

    def wanted(self, thread: Thread) -> frozenset[int]:
        if thread.is_vcpu:
            return self.vcpu
        return self.migration if thread.migrates else thread.cpus

    def of_kind(self, *, migrates: bool) -> list[Thread]:
        wanted = [one for one in self.seen.values() if one.is_vcpu or one.migrates]
        return [one for one in wanted if one.migrates is migrates]


@pytest.mark.requirement("LM-TLS-06")
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

    if not pinning.seen:
        raise InconclusiveError("the migration was over before its threads were found")
    assert len(pinning.of_kind(migrates=True)) > CHANNELS
    assert {one.cpus for one in pinning.of_kind(migrates=True)} == {migration}
    assert {one.cpus for one in pinning.of_kind(migrates=False)} == {vcpu}
    slowdown = {
        "unpinned_percent": round(100 * (1 - unpinned / alone), 1),
        "pinned_percent": round(100 * (1 - pinned / alone), 1),
        "threads": sorted(pinning.seen),
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
