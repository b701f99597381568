"""As many threads as were asked for, counted in the processes; and whether pages wait for them."""

from collections import Counter

import pytest

from fixtures.plugins.guests import MakeGuest
from fixtures.plugins.hosts import Pair
from migqual.errors import InconclusiveError
from migqual.hosts import threads
from migqual.model.guest import Content
from migqual.model.outcome import JobSample
from migqual.model.plan import Compression, Control, Plan, Tuning
from migqual.model.setting import Setting
from suites.compression.compressing import CHANGING, Migrate, carry, filled, parameters

SLOW_MIB_S = 16  # so that there is time to count


@pytest.mark.requirement("LM-PAR-05", "LM-PAR-07")
@pytest.mark.parametrize(("here", "there"), [(1, 1), (3, 5)], ids=["1-and-1", "3-and-5"])
def test_threads_are_as_many_as_asked_for(
    here: int, there: int, make_guest: MakeGuest, migrate: Migrate, pair: Pair
) -> None:
    """
    The source compresses and the destination decompresses with as many threads as were asked for.

    Preconditions: both ends offer threaded compression.
    Expected: the kernel shows exactly that many threads of those names in the two processes while
    the guest migrates.
    """
    guest = make_guest(CHANGING)
    seen: dict[str, Counter[str]] = {}

    def count(sample: JobSample) -> bool:
        if not seen and int(sample.stats.get("memory_processed", 0)):
            seen.update({host.name: threads.names(host, guest.name) for host in pair.hosts})
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
    assert seen[pair.source.name]["compress"] == here
    assert seen[pair.destination.name]["decompress"] == there


@pytest.mark.requirement("LM-PAR-06")
@pytest.mark.parametrize("waits", [True, False], ids=["waits", "does-not-wait"])
def test_pages_wait_for_a_thread_or_not(
    waits: bool,  # noqa: FBT001 - QEMU's own values
    make_guest: MakeGuest,
    migrate: Migrate,
    pair: Pair,
) -> None:
    """
    A page waits for a free compressing thread, or goes uncompressed, as was chosen.

    Preconditions: both ends offer threaded compression; a single thread, which is always busy.
    Expected: the choice is read back while the guest migrates; few pages go uncompressed where they
    wait, and most where they do not; afterwards the value from before is in force.
    """
    guest = make_guest(CHANGING)
    before = parameters(guest)
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
    with filled(guest, Content.TEXT):
        outcome = carry(migrate, pair, guest, plan, on_sample=read_back).outcome

    assert found == [waits]
    pages = 64 * 256
    uncompressed = int(outcome.stats["memory_normal"])
    assert (uncompressed < pages / 10) is waits, f"{uncompressed} pages went uncompressed"
    assert parameters(guest) == before
