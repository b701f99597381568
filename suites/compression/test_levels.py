"""Compression levels at and beyond the end of their range, in a migration."""

from dataclasses import replace

import pytest

from fixtures.plugins.guests import MakeGuest
from fixtures.plugins.hosts import Pair
from migqual.errors import HostError, MigrationRefused
from migqual.model.guest import GuestSpec
from migqual.model.outcome import JobSample
from migqual.model.plan import Compression, Control, Plan, Tuning
from migqual.model.setting import Setting
from suites.compression.compressing import (
    PATIENCE_S,
    SUSPENDED_AFTER,
    Migrate,
    both_have,
    carry,
    did_nothing,
    filled,
    parameters,
    text,
)

# in range, and beyond it
BEYOND = {Compression.MT: (1, 10), Compression.ZLIB: (1, 10), Compression.ZSTD: (1, 21)}
SLOWEST = (19, 20)  # of zstd: a few MiB/s at best, so that there is little to send
TEXT_MIB = 8
# QEMU's words, and those of openEuler's
RANGE = r"level.*(between 0 and|in the range of [01] to) (9|20)"


def at_level(method: Compression, level: int) -> Plan:
    """Of parallel connections the level goes through the monitor: a binding that is older than the
    hosts' libvirt cannot name it."""
    if not method.needs_channels:
        return Plan(control=Control.DIRECT, compression=method, tuning=Tuning(level=level))
    setting = Setting(f"multifd-{method}-level", level)
    return Plan(control=Control.DIRECT, compression=method, channels=2, settings=(setting,))


@pytest.mark.requirement("LM-PAR-04")
@pytest.mark.parametrize(
    "method",
    [
        pytest.param(method, marks=[pytest.mark.extra] if method.needs_channels else [])
        for method in BEYOND
    ],
    ids=str,
)
def test_level_beyond_its_range_is_refused(
    method: Compression, make_guest: MakeGuest, migrate: Migrate, pair: Pair
) -> None:
    """
    A migration with a level beyond the range is refused, and changes nothing.

    Preconditions: both ends offer the method.
    Expected: refused with the range, the guest runs on, the old values are in force; the same guest
    moves with a level that is in the range.
    """
    level, beyond = BEYOND[method]
    if method is Compression.MT:
        both_have(pair, "compress-level", level)
    guest = make_guest(GuestSpec())
    before = parameters(guest)

    with filled(guest, text(TEXT_MIB)):
        carry(migrate, pair, guest, at_level(method, level))
        with pytest.raises((MigrationRefused, HostError), match=RANGE):
            migrate(guest, at_level(method, beyond))

    assert parameters(guest) == before


@pytest.mark.requirement("LM-PAR-04")
@pytest.mark.extra
@pytest.mark.long
@pytest.mark.timeout(600)
@pytest.mark.parametrize("level", SLOWEST)
def test_slowest_levels_compress(
    level: int, make_guest: MakeGuest, migrate: Migrate, pair: Pair
) -> None:
    """
    The last levels of zstd take long, and lose nothing.

    Preconditions: both ends offer zstd on parallel connections. A guest that a slow host does not
    get moved in half a minute is suspended until it has arrived.
    Expected: the level is in force while the guest moves; text takes at most 80 % of the bytes.
    """
    guest = make_guest(GuestSpec())
    found: set[object] = set()

    def read_back(sample: JobSample) -> bool:
        if not found and int(sample.stats.get("memory_processed", 0)):
            found.add(parameters(guest)["multifd-zstd-level"])
        return False

    with filled(guest, text(TEXT_MIB)):
        plan = replace(
            at_level(Compression.ZSTD, level), timeout=SUSPENDED_AFTER, deadline_s=PATIENCE_S
        )
        slow = carry(migrate, pair, guest, plan, on_sample=read_back)
        plain = carry(migrate, pair, guest, Plan(control=Control.DIRECT, channels=2))

    assert found == {level}
    assert not did_nothing(plain, slow)
