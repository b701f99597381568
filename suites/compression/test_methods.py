"""Every method on every kind of data: offered or not, at work or not, nothing lost."""

import pytest

from fixtures.plugins.guests import MakeGuest
from fixtures.plugins.hosts import Pair
from fixtures.plugins.records import add_environment
from migqual.model.guest import Content
from migqual.model.plan import Compression, Control, Plan
from migqual.model.setting import Ends, Setting
from suites.compression.compressing import (
    CHANGING,
    GROWN,
    MIB,
    Migrate,
    both_have,
    carry,
    did_nothing,
    filled,
    parameters,
)

DIRECT = Control.DIRECT  # peer-to-peer, the destination's words may get lost
DATA_MIB = 48


def threaded(method: str) -> Plan:
    """Compressing threads with openEuler's choice of a method."""
    choice = (Setting("compress-method", method, Ends.BOTH),)
    return Plan(control=DIRECT, compression=Compression.MT, settings=choice)


def channelled(method: str) -> Plan:
    """A method of parallel connections that libvirt has no name for."""
    choice = (Setting("multifd-compression", method, Ends.BOTH),)
    return Plan(control=DIRECT, channels=2, settings=choice)


# The documentation knows the threaded ones. Those of parallel connections are extras.
METHODS = {
    "mt": Plan(control=DIRECT, compression=Compression.MT),
    "mt-zlib": threaded("zlib"),
    "mt-zstd": threaded("zstd"),
    "multifd-zlib": Plan(control=DIRECT, compression=Compression.ZLIB, channels=2),
    "multifd-zstd": Plan(control=DIRECT, compression=Compression.ZSTD, channels=4),
    "multifd-qatzip": channelled("qatzip"),
    "multifd-qpl": channelled("qpl"),
    "multifd-uadk": channelled("uadk"),
}


@pytest.mark.requirement("LM-PAR-08")
@pytest.mark.parametrize(
    "method",
    [
        pytest.param(name, marks=[pytest.mark.extra] if plan.channels else [])
        for name, plan in METHODS.items()
    ],
)
def test_method_shrinks_what_can_shrink(
    method: str, make_guest: MakeGuest, migrate: Migrate, pair: Pair, pytestconfig: pytest.Config
) -> None:
    """
    A method sends text in fewer bytes, and neither zeroes nor random data in more.

    Preconditions: both ends offer the method; some pages change all the time; each migration is
    compared with a plain one of the same guest over as many connections.
    Expected: text takes at most 80 % of the bytes, random data and zeroes at most 102 %, by the
    kernel's count on the link; random data takes more than text; every page is intact; and the
    parameters are afterwards what they were before.
    """
    plan = METHODS[method]
    plain = Plan(control=DIRECT, channels=plan.channels)
    for setting in plan.settings:
        both_have(pair, setting.name, setting.value)
    guest = make_guest(CHANGING)
    before = parameters(guest)
    sent = {}

    for content in (Content.TEXT, Content.ZERO, Content.RANDOM):
        with filled(guest, content, DATA_MIB):
            compressed = carry(migrate, pair, guest, plan)
            assert parameters(guest) == before
            sent[content] = carry(migrate, pair, guest, plain), compressed

    told = {
        f"{content}_{way}_mib": round(carried.bytes / MIB, 1)
        for content, ways in sent.items()
        for way, carried in zip(("plain", "compressed"), ways, strict=True)
    }
    add_environment(pytestconfig, f"compression {method} {pair.id}", told)
    assert not did_nothing(*sent[Content.TEXT]), told
    for content in (Content.ZERO, Content.RANDOM):
        plainly, compressed = sent[content]
        assert compressed.bytes <= plainly.bytes * GROWN, told
    text, random = (sent[content][1].bytes for content in (Content.TEXT, Content.RANDOM))
    assert random - text > DATA_MIB * MIB / 4, told
