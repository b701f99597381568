"""Every method with every level, kind of data and number of connections: at work, nothing lost."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import pytest

from fixtures.plugins.guests import MakeGuest
from fixtures.plugins.hosts import Pair
from fixtures.plugins.matrix import chosen
from fixtures.plugins.records import add_environment
from migqual.errors import InconclusiveError
from migqual.hosts import emulator, threads
from migqual.hosts.guest import Guest
from migqual.model.guest import Content, GuestSpec, MemoryLoad
from migqual.model.outcome import JobSample
from migqual.model.plan import Compression, Control, Plan, Tuning
from migqual.model.setting import Ends, Setting
from suites.compression.compressing import (
    GROWN,
    PATIENCE_S,
    SHRUNK,
    SUSPENDED_AFTER,
    Carried,
    Migrate,
    both_have,
    carry,
    filled,
    parameters,
)

DIRECT = Control.DIRECT  # peer-to-peer, the destination's words may get lost
DATA_MIB = 32
RESTLESS = "changing"  # text, some of which changes while it is sent
RESTLESS_MIB_S = 1  # less than the slowest method sends, mostly
DATA = (*(str(content) for content in (Content.TEXT, Content.RANDOM, Content.ZERO)), RESTLESS)
STORED = 0  # a level of zlib that compresses nothing; zstd takes it for its usual one
# What random data add to zeroes may be this much more than in a plain migration. The guest around
# them differs from one migration to the next by about a MiB.
SWOLLEN = 1.1


@dataclass(frozen=True)
class Method:
    """level None: the method has none. Settings that libvirt has no name for go by the monitor:
    its binding may be older than the hosts' libvirt."""

    compression: Compression
    levels: tuple[int | None, ...] = (None,)
    connections: tuple[int, ...] = (0,)
    choice: Setting | None = None
    level_name: str = ""

    def plan(self, level: int | None, connections: int) -> Plan:
        settings = [self.choice] if self.choice else []
        if level is not None and self.level_name:
            settings.append(Setting(self.level_name, level))
        tuning = Tuning(level=None if self.level_name else level)
        return Plan(
            control=DIRECT,
            compression=self.compression,
            channels=connections,
            timeout=SUSPENDED_AFTER,
            deadline_s=PATIENCE_S,
            tuning=tuning,
            settings=tuple(settings),
        )

    def offered(self, pair: Pair) -> tuple[int | None, ...]:
        """Its levels, without the one that stores where an end refuses it: openEuler's does."""
        if self.compression is not Compression.MT or STORED not in self.levels:
            return self.levels
        refused = [emulator.refusal(host, "compress-level", STORED) for host in pair.hosts]
        return tuple(level for level in self.levels if level != STORED or not any(refused))

    @property
    def named(self) -> list[Setting]:
        """What both ends must know."""
        return list(self.plan(self.levels[0], self.connections[0]).settings)


def threaded(method: str, *levels: int) -> Method:
    """Compressing threads with openEuler's choice of a method."""
    return Method(Compression.MT, levels, choice=Setting("compress-method", method, Ends.BOTH))


def channelled(method: str) -> Method:
    """A method of parallel connections that libvirt has no name for."""
    choice = Setting("multifd-compression", method, Ends.BOTH)
    return Method(Compression.NONE, connections=(2,), choice=choice)


# The documentation knows the threaded ones. Those of parallel connections are extras.
METHODS = {
    "mt": Method(Compression.MT, (0, 1, 9)),
    "mt-zlib": threaded("zlib", 1, 9),
    "mt-zstd": threaded("zstd", 1, 9),
    "multifd-zlib": Method(Compression.ZLIB, (0, 1, 9), (1, 2, 4), level_name="multifd-zlib-level"),
    "multifd-zstd": Method(Compression.ZSTD, (0, 1, 9), (1, 2, 4), level_name="multifd-zstd-level"),
    "multifd-qatzip": channelled("qatzip"),
    "multifd-qpl": channelled("qpl"),
    "multifd-uadk": channelled("uadk"),
}


@dataclass
class Connections:
    """Counts the threads that send over parallel connections while a migration goes on."""

    guest: Guest
    counts: set[int] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.host, self.pid = self.guest.host, threads.running(self.guest)

    def look(self, sample: JobSample) -> bool:
        """Called with each sample; never aborts."""
        if int(sample.stats.get("memory_processed", 0)):
            found = threads.of(self.host, self.pid)
            self.counts.add(sum(one.sends for one in found))
        return False


@dataclass(frozen=True)
class Row:
    """One way through the matrix, what crossed the link, and the sending threads that were seen."""

    level: int | None
    data: str
    connections: int
    carried: Carried
    counted: set[int]

    def __str__(self) -> str:
        level = "" if self.level is None else f"level {self.level}, "
        return f"{level}{self.data}, {self.connections or 'no parallel'} connections"

    def share(self, plain: Mapping[str, Carried]) -> float:
        """Of the bytes that a plain migration of the same data took."""
        return self.carried.bytes / plain[self.data].bytes

    def told(self, plain: Mapping[str, Carried]) -> float:
        """The same by the accounts of the jobs."""
        return self.carried.told / plain[self.data].told

    @property
    def most(self) -> float:
        """The share of the bytes that it may take."""
        zstd = self.carried.outcome.plan.compression is Compression.ZSTD
        text = self.data in {str(Content.TEXT), RESTLESS}
        if text and (zstd or self.level != STORED):
            return SHRUNK
        # how often pages that change go depends on how fast they go
        return float("inf") if self.data == RESTLESS else GROWN

    def complaint(self, plain: Mapping[str, Carried]) -> str:
        """What is wrong with it beside plain migrations; "" when nothing is."""
        if max(self.counted, default=0) not in {0, self.connections}:  # they come one by one
            return f"{self}: {sorted(self.counted)} threads sent"
        share = min(self.share(plain), self.told(plain))
        return f"{self}: {share:.1%} of the bytes" if share > self.most else ""

    def doubt(self, plain: Mapping[str, Carried]) -> str:
        """Too many bytes on the link of which the job tells nothing; "" for none."""
        if self.share(plain) <= self.most:
            return ""
        return f"{self}: {self.share(plain):.1%} of the bytes, and {self.told(plain):.1%} as told"


@pytest.mark.requirement("LM-PAR-04", "LM-PAR-08")
@pytest.mark.long
@pytest.mark.timeout(900)  # dozens of migrations with `--matrix full`
@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[pytest.mark.extra] if method.connections != (0,) else [])
        for name, method in METHODS.items()
    ],
)
def test_method_shrinks_what_can_shrink(
    name: str, make_guest: MakeGuest, migrate: Migrate, pair: Pair, pytestconfig: pytest.Config
) -> None:
    """
    A method sends text in fewer bytes, and neither zeroes nor random data in more.

    Preconditions: both ends offer the method; every two of its levels, kinds of data and numbers
    of connections meet in a migration, or all of them do; each is compared with a plain one of the
    same data. A level that stores is left out where QEMU refuses it. A guest that a slow host
    does not get moved in half a minute is suspended until it has arrived.
    Expected: text takes at most 80 % of the bytes, also where it changes meanwhile; guests with
    random data or zeroes, and text at the level that stores, at most 102 %, by the kernel's count
    on the link; random data add to zeroes at most 110 % of what they add without the method. Text
    shrinks more at a high level than at a low one. As many threads send as there are connections.
    Every page is intact, and the parameters are afterwards what they were before. Bytes on the link
    of which the job does not tell are nobody's fault, and prove nothing.
    """
    method = METHODS[name]
    for setting in method.named:
        both_have(pair, setting.name, setting.value)
    guest = make_guest(GuestSpec())  # at rest: only the data changes, where it does
    before = parameters(guest)
    levels = method.offered(pair)
    matrix = chosen((levels, DATA, method.connections), pytestconfig.getoption("--matrix"))
    rows: list[Row] = []
    plain: dict[str, Carried] = {}

    for data in DATA:
        with filled(guest, load_of(data)):
            plain[data] = carry(migrate, pair, guest, Plan(control=DIRECT, channels=matrix[0][2]))
            for level, _data, connections in (row for row in matrix if row[1] == data):
                seen = Connections(guest)
                plan = method.plan(level, connections)
                carried = carry(migrate, pair, guest, plan, on_sample=seen.look)
                rows.append(Row(level, data, connections, carried, seen.counts))
                assert parameters(guest) == before

    told = {str(row): f"{row.share(plain):.1%}" for row in rows}
    add_environment(pytestconfig, f"compression {name} {pair.id}", told)
    assert [words for row in rows if (words := row.complaint(plain))] == []
    assert swollen(rows, plain) == []
    deeper = {row.level: row.share(plain) for row in rows if row.data == Content.TEXT and row.level}
    shares = [deeper[level] for level in sorted(deeper)]
    assert shares == sorted(shares, reverse=True), told
    if doubts := [words for row in rows if (words := row.doubt(plain))]:
        raise InconclusiveError("; ".join(doubts))
    if not all(any(row.counted) for row in rows if row.connections):
        raise InconclusiveError("a migration was over before its threads could be counted")


def swollen(rows: Sequence[Row], plain: Mapping[str, Carried]) -> list[str]:
    """Levels at which random data add more to zeroes than they should, by the jobs' accounts: the
    rest of the guest shrinks, and would hide it."""
    random, zero = str(Content.RANDOM), str(Content.ZERO)
    usual = plain[random].told - plain[zero].told
    zeroes = {row.level: row.carried.told for row in rows if row.data == zero}
    added = [(row, row.carried.told - zeroes[row.level]) for row in rows if row.data == random]
    return [f"{row}: {more} bytes, not {usual}" for row, more in added if more > usual * SWOLLEN]


def load_of(data: str) -> MemoryLoad:
    if data == RESTLESS:
        return MemoryLoad(mib=DATA_MIB, content=Content.TEXT, rate_mib_s=RESTLESS_MIB_S)
    return MemoryLoad(mib=DATA_MIB, content=Content(data))
