"""What both ends must agree on, and what is set where it does nothing."""

from dataclasses import replace

import pytest

from fixtures.plugins.guests import MakeGuest
from fixtures.plugins.hosts import Pair
from fixtures.plugins.records import add_environment
from migqual.errors import MigrationError, MigrationFailed, MigrationRefused, MigrationTimedOut
from migqual.model.guest import GuestSpec
from migqual.model.plan import Compression, Control, Plan
from migqual.model.setting import Ends, Setting, Value
from suites.compression.compressing import (
    CHANGING,
    Migrate,
    both_have,
    carry,
    did_nothing,
    filled,
    text,
)

ROUTES = {
    "compress-method": Plan(control=Control.DIRECT, compression=Compression.MT),
    "multifd-compression": Plan(control=Control.DIRECT, channels=2),
}
# What must end a migration whose ends disagree. Parallel connections may also stand still (QEMU 7.2
# now and then does): nobody promises more for a parameter that libvirt does not manage.
ENDINGS: dict[str, tuple[type[MigrationError], ...]] = {
    "compress-method": (MigrationFailed, MigrationRefused),
    "multifd-compression": (MigrationFailed, MigrationRefused, MigrationTimedOut),
}
STANDS_STILL_S = 15.0
# set without what would make use of it: the capability, or parallel connections
USELESS: dict[str, Value] = {
    "compress-level": 9,
    "compress-method": "zstd",
    "multifd-compression": "zstd",
}


def chosen(name: str, value: Value, ends: Ends) -> Plan:
    base = ROUTES[name]
    setting = Setting(name, value, ends)
    return Plan(
        control=base.control,
        channels=base.channels,
        compression=base.compression,
        settings=(setting,),
    )


@pytest.mark.requirement("LM-PAR-08")
@pytest.mark.parametrize(
    "name",
    [
        "compress-method",
        # QEMU 7.2 does not always survive it
        pytest.param("multifd-compression", marks=[pytest.mark.extra, pytest.mark.long]),
    ],
)
def test_ends_that_disagree_fail_without_harm(
    name: str, make_guest: MakeGuest, migrate: Migrate, pair: Pair, pytestconfig: pytest.Config
) -> None:
    """
    A method that is set at the source alone fails cleanly, and works once both ends have it.

    Preconditions: both QEMUs have the parameter; it is set through the monitor.
    Expected: with zstd at the source only, the guest does not arrive, and runs on unharmed; with
    zstd at both ends it moves, and text takes fewer bytes. Whether the disagreement ended the
    migration by itself, or it stood still until it was aborted, is in the report.
    """
    both_have(pair, name, "zstd")
    guest = make_guest(CHANGING)

    with filled(guest, text(32)):
        alone = replace(chosen(name, "zstd", Ends.SOURCE), deadline_s=STANDS_STILL_S)
        with pytest.raises(ENDINGS[name]) as disagreed:
            carry(migrate, pair, guest, alone)
        assert guest.host is pair.source
        agreed = carry(migrate, pair, guest, chosen(name, "zstd", Ends.BOTH))
        plain = carry(migrate, pair, guest, Plan(channels=agreed.outcome.plan.channels))

    told = {"ended": type(disagreed.value).__name__, "words": disagreed.value.words}
    add_environment(pytestconfig, f"ends disagree on {name} {pair.id}", told)
    assert not did_nothing(plain, agreed)


@pytest.mark.requirement("LM-PAR-08")
@pytest.mark.parametrize(
    "name",
    [
        "compress-level",
        "compress-method",
        pytest.param("multifd-compression", marks=[pytest.mark.extra, pytest.mark.long]),
    ],
)
def test_setting_that_does_nothing_is_found_out(
    name: str, make_guest: MakeGuest, migrate: Migrate, pair: Pair
) -> None:
    """
    A parameter that is set where nothing makes use of it compresses nothing, and that is seen.

    Preconditions: QEMU takes the setting; neither compression nor parallel connections are on.
    Expected: the bytes on the link are those of a plain migration, which the other tests call a
    method that did nothing.
    """
    both_have(pair, name, USELESS[name])
    guest = make_guest(GuestSpec())

    with filled(guest, text(32)):
        plan = Plan(control=Control.DIRECT, settings=(Setting(name, USELESS[name]),))
        idle = carry(migrate, pair, guest, plan)
        plain = carry(migrate, pair, guest, Plan(control=Control.DIRECT))

    assert did_nothing(plain, idle)
