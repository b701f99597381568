"""The documented parameters at the edges of their ranges, through the monitor."""

import pytest

from fixtures.plugins.guests import MakeGuest
from migqual.errors import HostError, UnsupportedError
from migqual.hosts.guest import Guest
from migqual.model.guest import GuestSpec
from migqual.model.setting import Value

MIB = 2**20
# what must be taken, what must be refused, and what a stack may do either way but has to be
# straight about: zlib knows level 0, which stores, and openEuler's zstd levels up to 19
EDGES: dict[str, tuple[tuple[Value, ...], tuple[Value, ...], tuple[Value, ...]]] = {
    "compress-level": ((1, 9), (20, 256, -1), (0, 10, 19)),
    "compress-threads": ((1, 255), (0, 256), ()),
    "decompress-threads": ((1, 255), (0, 256), ()),
    "compress-wait-thread": ((True, False), ("maybe", 2), ()),
    "compress-method": (("zlib", "zstd"), ("none", "lzma"), ()),
}


@pytest.mark.parametrize(
    "name",
    [
        pytest.param("compress-level", marks=pytest.mark.requirement("LM-PAR-04")),
        pytest.param("compress-threads", marks=pytest.mark.requirement("LM-PAR-05")),
        pytest.param("compress-wait-thread", marks=pytest.mark.requirement("LM-PAR-06")),
        pytest.param("decompress-threads", marks=pytest.mark.requirement("LM-PAR-07")),
        pytest.param("compress-method", marks=pytest.mark.requirement("LM-PAR-08")),
    ],
)
def test_edges_of_a_parameter(name: str, make_guest: MakeGuest) -> None:
    """
    A parameter takes what is in its range and refuses the rest, each with all consequences.

    Preconditions: QEMU has the parameter; what it has not, it says it does not expect.
    Expected: a value that is taken is read back; one that is refused is named in the reason, and
    the old value stays in force.
    """
    guest = make_guest(GuestSpec())
    taken, refused, either = EDGES[name]
    supported(guest, name, taken[0])

    assert [value for value in taken if not takes(guest, name, value)] == []
    assert [value for value in refused if takes(guest, name, value)] == []
    for value in either:
        takes(guest, name, value)


@pytest.mark.requirement("LM-PAR-09")
@pytest.mark.parametrize(
    ("name", "taken", "refused"),
    [
        ("xbzrle-cache-size", (4096, 64 * MIB), (0, 1, 1024, 5 * MIB)),
        ("downtime-limit", (0, 500, 2_000_000), (2_000_001, -1)),
        ("max-postcopy-bandwidth", (0, MIB), (-1,)),
        ("multifd-channels", (1, 255), (0, 256)),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_edges_of_the_other_parameters(
    name: str, taken: tuple[int, ...], refused: tuple[int, ...], make_guest: MakeGuest
) -> None:
    """
    The listed parameters that have nothing to do with threads keep to their ranges too.

    Preconditions: QEMU has the parameter.
    Expected: as for the compression parameters.
    """
    guest = make_guest(GuestSpec())
    supported(guest, name, taken[0])

    assert [value for value in taken if not takes(guest, name, value)] == []
    assert [value for value in refused if takes(guest, name, value)] == []


def supported(guest: Guest, name: str, value: Value) -> None:
    """Raises `UnsupportedError` with QEMU's words when it has no such parameter."""
    if name in guest.domain.monitor("query-migrate-parameters"):
        return
    try:
        guest.domain.monitor("migrate-set-parameters", **{name: value})
    except HostError as refused:
        raise UnsupportedError(refused.message) from refused
    pytest.fail(f"{name} is not listed, and yet QEMU takes it")


def takes(guest: Guest, name: str, value: Value) -> bool:
    """Whether QEMU takes the value. Whatever it says must be true of the value in force."""
    before = in_force(guest, name)
    words = refusal(guest, name, value)
    if words:
        assert name in words.replace("_", "-") or str(value) in words
        assert in_force(guest, name) == before
        return False
    assert in_force(guest, name) == value
    return True


def refusal(guest: Guest, name: str, value: Value) -> str:
    """QEMU's words against the value; empty when it takes it."""
    try:
        guest.domain.monitor("migrate-set-parameters", **{name: value})
    except HostError as refused:
        return refused.message
    return ""


def in_force(guest: Guest, name: str) -> Value:
    found: Value = guest.domain.monitor("query-migrate-parameters")[name]
    return found
