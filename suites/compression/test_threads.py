"""As many threads as were asked for, counted in the processes; and whether pages wait for them."""

from collections import Counter

import pytest

from fixtures.plugins.guests import MakeGuest
from fixtures.plugins.hosts import Pair
from migqual.errors import InconclusiveError
from migqual.hosts import threads
from migqual.hosts.guest import Guest
from migqual.model.outcome import JobSample
from migqual.model.plan import Compression, Control, Plan, Tuning
from migqual.model.setting import Setting
from suites.compression.compressing import (
    CHANGING,
    Migrate,
    both_have,
    carry,
    filled,
    parameters,
    text,
)

SLOW_MIB_S = 16  # so that there is time to count
DATA_MIB = 32
PAGES_OF_MIB = 256


# at the source, at the destination
COUNTS = ((1, 1), (3, 5), (255, 255))


@pytest.mark.requirement("LM-PAR-05", "LM-PAR-07")
def test_threads_are_as_many_as_asked_for(
    make_guest: MakeGuest, migrate: Migrate, pair: Pair
) -> None:
    """
    The source compresses and the destination decompresses with as many threads as were asked for.

    Preconditions: both ends offer threaded compression.
    Expected: the kernel shows exactly that many threads of those names in the two processes while
    the guest migrates: one and one, three and five, and the most that there may be.
    """
    both_have(pair, "compress-threads", COUNTS[0][0])
    guest = make_guest(CHANGING)

    found = [counted(migrate, pair, guest, *counts) for counts in COUNTS]

    assert found == list(COUNTS)


def counted(migrate: Migrate, pair: Pair, guest: Guest, here: int, there: int) -> tuple[int, int]:
    """Threads that compress at the source and decompress at the destination in one migration.
    Raises `InconclusiveError` when it is over before they could be counted."""
    ends = guest.host, pair.other(guest.host)
    seen: list[Counter[str]] = []

    def count(sample: JobSample) -> bool:
        if not seen and int(sample.stats.get("memory_processed", 0)):
            seen.extend(threads.names(host, guest.name) for host in ends)
        return False

    tuning = Tuning(threads=here, decompress_threads=there)
    plan = Plan(
        control=Control.DIRECT,
        compression=Compression.MT,
        tuning=tuning,
        bandwidth_mib_s=SLOW_MIB_S,
    )
    carry(migrate, pair, guest, plan, on_sample=count)
    if not seen:
        raise InconclusiveError("the migration was over before a thread could be counted")
    return seen[0]["compress"], seen[1]["decompress"]


@pytest.mark.requirement("LM-PAR-06")
@pytest.mark.long
def test_pages_wait_for_a_thread_or_not(
    make_guest: MakeGuest, migrate: Migrate, pair: Pair
) -> None:
    """
    A page waits for a free compressing thread, or goes uncompressed, as was chosen.

    Preconditions: both ends offer threaded compression; a single thread, which is always busy.
    Expected: the choice is read back while the guest migrates; hardly a page goes uncompressed
    where they wait, and many do where they do not; afterwards the value from before is in force.
    """
    both_have(pair, "compress-wait-thread", value=True)
    guest = make_guest(CHANGING)
    before = parameters(guest)

    with filled(guest, text(DATA_MIB)):
        waiting, uncompressed = waited(migrate, pair, guest, waits=True)
        assert parameters(guest) == before
        hurrying, passed_by = waited(migrate, pair, guest, waits=False)

    assert parameters(guest) == before
    assert (waiting, hurrying) == (True, False)
    assert uncompressed < DATA_MIB * PAGES_OF_MIB / 10
    assert passed_by > DATA_MIB * PAGES_OF_MIB / 4


def waited(migrate: Migrate, pair: Pair, guest: Guest, *, waits: bool) -> tuple[object, int]:
    """The value in force while the guest migrated, and the pages that went uncompressed."""
    found: list[object] = []

    def read_back(sample: JobSample) -> bool:
        if not found and int(sample.stats.get("memory_processed", 0)):
            found.append(parameters(guest)["compress-wait-thread"])
        return False

    plan = Plan(
        control=Control.DIRECT,
        compression=Compression.MT,
        tuning=Tuning(level=9, threads=1),
        settings=(Setting("compress-wait-thread", waits),),
    )
    stats = carry(migrate, pair, guest, plan, on_sample=read_back).outcome.stats
    if not found:
        raise InconclusiveError("the migration was over before the value could be read")
    return found[0], int(stats["memory_normal"])
