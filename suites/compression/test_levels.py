"""Compression levels: those in range work, those out of range are refused."""

import pytest

from fixtures.plugins.guests import MakeGuest
from fixtures.plugins.hosts import Pair
from migqual.errors import HostError, MigrationRefused
from migqual.migration.settings import in_force
from migqual.model.guest import Content, GuestSpec
from migqual.model.plan import Compression, Control, Plan, Tuning
from migqual.model.setting import Setting
from suites.compression.compressing import (
    Migrate,
    both_have,
    carry,
    did_nothing,
    filled,
    parameters,
)

# the lowest level, one that compresses well without taking minutes, and one beyond the range
RANGES = {Compression.MT: (1, 9, 10), Compression.ZLIB: (1, 9, 10), Compression.ZSTD: (1, 9, 21)}
SLOWEST = {Compression.ZSTD: (19, 20)}  # taken and read back; a migration would take minutes


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
        for method in RANGES
    ],
    ids=str,
)
def test_levels_work_within_their_range(
    method: Compression, make_guest: MakeGuest, migrate: Migrate, pair: Pair
) -> None:
    """
    A low and a high level compress; one beyond the range is refused, and changes nothing.

    Preconditions: both ends offer the method.
    Expected: text shrinks at both levels, at the high one more than at the low one; the level
    beyond is refused with the range, the guest runs on, the old values are in force. Levels that
    would take minutes are read back.
    """
    low, high, beyond = RANGES[method]
    if method is Compression.MT:
        both_have(pair, "compress-level", low)
    guest = make_guest(GuestSpec())  # at rest: a slow level would find more to send again

    with filled(guest, Content.TEXT, 48):
        lowest = carry(migrate, pair, guest, at_level(method, low))
        highest = carry(migrate, pair, guest, at_level(method, high))
        plain = carry(migrate, pair, guest, Plan(channels=at_level(method, low).channels))
        before = parameters(guest)
        with pytest.raises((MigrationRefused, HostError), match=r"(?i)level.*(between|range|\d)"):
            migrate(guest, at_level(method, beyond))

    for level in SLOWEST.get(method, ()):
        with in_force(guest, (Setting(f"multifd-{method}-level", level),)):
            assert parameters(guest)[f"multifd-{method}-level"] == level
    assert parameters(guest) == before
    assert not did_nothing(plain, lowest)
    assert highest.bytes < lowest.bytes
