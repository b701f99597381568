"""What the tests of compression share: data to compress, and what really crossed the link."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any

from fixtures.plugins.hosts import Pair
from migqual.errors import HostError, InconclusiveError, MigrationRefused, UnsupportedError
from migqual.hosts import emulator, link
from migqual.hosts.guest import Guest
from migqual.hosts.host import Host
from migqual.model import throughput
from migqual.model.guest import Content, GuestSpec, Load, MemoryLoad
from migqual.model.offer import Offer, lacking, unoffered
from migqual.model.outcome import Outcome
from migqual.model.plan import Compression, Plan, Timeout
from migqual.model.setting import Value

Migrate = Callable[..., Outcome]
MIB = 2**20
# Compressible data must shrink to this share of what goes uncompressed, and incompressible data may
# grow by no more than that: a method's own headers.
SHRUNK = 0.8
GROWN = 1.02
# A busy host may compress less than a guest dirties at the highest levels. How fast it is, is not
# the question: the guest is suspended then, and the rest gets its time.
SUSPENDED_AFTER = Timeout(30)
PATIENCE_S = 300.0
# some pages change all the time, so that every round has something to do
CHANGING = GuestSpec(load=Load("changing", memory=MemoryLoad(mib=8, rate_mib_s=2)))


@dataclass(frozen=True)
class Carried:
    """A migration and the bytes that the kernel counted on the link meanwhile."""

    outcome: Outcome
    bytes: int

    @property
    def told(self) -> int:
        """Bytes by the job's own account."""
        return int(self.outcome.stats.get("memory_processed", 0))

    @property
    def doubt(self) -> str:
        """Why the two accounts do not tell of one migration; "" when they do. Of compressed pages
        an older QEMU tells the size from before: then the link may have seen fewer bytes."""
        plan = self.outcome.plan
        if not self.told:
            return "the job did not tell how much it sent"
        if plan.compression is Compression.NONE and not plan.settings:
            return throughput.doubt(self.bytes, self.told)
        return throughput.doubt(self.bytes, self.told, least=0)


@cache
def offered(host: Host) -> Offer:
    """What the host's QEMU offers; it stays the same for as long as the tests run."""
    return emulator.offered(host)


def offers(pair: Pair) -> tuple[Offer, ...]:
    """What QEMU offers at both ends."""
    return tuple(offered(host) for host in pair.hosts)


def both_have(pair: Pair, name: str, value: Value) -> None:
    """Raises `UnsupportedError` with QEMU's words when one end cannot set the parameter so. Asks
    a QEMU without a guest: no guest has to boot to learn that."""
    lacks = "; ".join(filter(None, (offer.lacks_parameter(name, value) for offer in offers(pair))))
    refused = [words for host in pair.hosts if (words := emulator.refusal(host, name, value))]
    if lacks and refused:
        raise UnsupportedError(f"{refused[0]}; {lacks}")
    assert not lacks, f"it takes {name} {value}, although {lacks}"


def carry(migrate: Migrate, pair: Pair, guest: Guest, plan: Plan, **more: Any) -> Carried:  # noqa: ANN401
    """Migrate to the other host. Raises `UnsupportedError` with the stack's words for what one end
    lacks; a stack that goes ahead with what it lacks fails the test. Raises `InconclusiveError`
    when others sent so much through the interface that its count says nothing."""
    source = guest.host
    other = pair.other(source)
    lacks = lacking(plan, offers(pair))
    before = link.sent_bytes(source, other)
    try:
        outcome = migrate(guest, plan, **more)
    except MigrationRefused as refused:
        if lacks or unoffered(refused.words):
            raise UnsupportedError("; ".join(filter(None, (refused.words, lacks)))) from refused
        raise
    except HostError as refused:
        if lacks:
            raise UnsupportedError(f"{refused.message}; {lacks}") from refused
        raise
    assert not lacks, f"it went ahead, although {lacks}"
    carried = Carried(outcome, link.sent_bytes(source, other) - before)
    if carried.doubt:
        raise InconclusiveError(carried.doubt)
    return carried


@contextmanager
def filled(guest: Guest, load: MemoryLoad) -> Iterator[None]:
    """Memory of the guest with such data; every page of it is checked afterwards."""
    name = f"{load.content}-data"
    guest.payload("memory", "start", name, *load.words)
    yield
    told = guest.payload("memory", "verify", name)
    assert told["checked"], "no page was checked"
    assert not told["bad"], f"{told['bad']} bad pages of {told['checked']}"
    guest.payload("memory", "free", name)


def text(mib: int) -> MemoryLoad:
    """Data that compresses well, and does not change."""
    return MemoryLoad(mib=mib, content=Content.TEXT)


def parameters(guest: Guest) -> dict[str, Any]:
    """`query-migrate-parameters` of the guest where it runs."""
    found: dict[str, Any] = guest.domain.monitor("query-migrate-parameters")
    return found


def did_nothing(plain: Carried, compressed: Carried) -> bool:
    """Whether compressible data took as many bytes as without: then nothing was compressed."""
    return compressed.bytes > plain.bytes * SHRUNK
