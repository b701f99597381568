"""The documented parameters at the edges of their ranges, through the monitor of both QEMUs."""

import itertools
from dataclasses import dataclass

import pytest

from fixtures.plugins.hosts import Pair
from migqual.errors import UnsupportedError
from migqual.hosts import emulator
from migqual.hosts.host import Host
from migqual.model.setting import Value

MIB = 2**20


@dataclass(frozen=True)
class Edges:
    """Values of a parameter: to be taken, to be refused, and those that a stack may treat either
    way, as long as it is straight about it."""

    taken: tuple[Value, ...]
    refused: tuple[Value, ...]
    either: tuple[Value, ...] = ()


# zlib has a level 0, which stores, and openEuler's zstd has levels up to 19
LEVELS = Edges((1, 9), (20, 256, -1), (0, 10, 19))
COUNTS = Edges((1, 255), (0, 256))
UNDOCUMENTED = {"multifd-zlib-level", "multifd-zstd-level"}  # a documented one has to work
EDGES = {
    "compress-level": LEVELS,
    "compress-threads": COUNTS,
    "compress-wait-thread": Edges((True, False), ("maybe", 2)),
    "decompress-threads": COUNTS,
    "compress-method": Edges(("zlib", "zstd"), ("none", "lzma")),
    # no less than a page; of aarch64 without a machine that is 1 KiB, the least that it may be
    "xbzrle-cache-size": Edges((4096, 64 * MIB), (0, 1, 512, 5 * MIB), (1024,)),
    "multifd-zlib-level": Edges((0, 1, 9), (10, 256, -1)),
    "multifd-zstd-level": Edges((0, 1, 19, 20), (21, 256, -1)),
    "downtime-limit": Edges((0, 500, 2_000_000), (2_000_001, -1)),
    "max-bandwidth": Edges((MIB, 500 * MIB), (2**70, "fast")),
    "max-postcopy-bandwidth": Edges((0, MIB), (2**70, "fast")),
    "multifd-channels": Edges((1, 255), (0, 256)),
}


@pytest.mark.parametrize(
    "name",
    [
        pytest.param("compress-level", marks=pytest.mark.requirement("LM-PAR-04")),
        pytest.param(
            "multifd-zlib-level",
            marks=[pytest.mark.requirement("LM-PAR-04"), pytest.mark.extra],
        ),
        pytest.param(
            "multifd-zstd-level",
            marks=[pytest.mark.requirement("LM-PAR-04"), pytest.mark.extra],
        ),
        pytest.param("compress-threads", marks=pytest.mark.requirement("LM-PAR-05")),
        pytest.param("compress-wait-thread", marks=pytest.mark.requirement("LM-PAR-06")),
        pytest.param("decompress-threads", marks=pytest.mark.requirement("LM-PAR-07")),
        pytest.param("compress-method", marks=pytest.mark.requirement("LM-PAR-08")),
        pytest.param("downtime-limit", marks=pytest.mark.requirement("LM-PAR-01")),
        pytest.param("max-bandwidth", marks=pytest.mark.requirement("LM-PAR-02")),
        pytest.param(
            "max-postcopy-bandwidth",
            marks=[pytest.mark.requirement("LM-PAR-02"), pytest.mark.extra],
        ),
        pytest.param("xbzrle-cache-size", marks=pytest.mark.requirement("LM-PAR-09")),
        pytest.param(
            "multifd-channels", marks=[pytest.mark.requirement("LM-PAR-09"), pytest.mark.extra]
        ),
    ],
)
def test_edges_of_a_parameter(name: str, pair: Pair) -> None:
    """
    A parameter takes what is in its range and refuses the rest, at both ends.

    Preconditions: the QEMU of either host, without a guest; a parameter that it has not, it says it
    does not expect.
    Expected: a value that is taken is read back; one that is refused is named in the reason, and
    the old value stays in force.
    """
    edges = EDGES[name]

    for host in pair.hosts:
        supported(host, name, edges.taken[0])
        if name in UNDOCUMENTED:
            heeded(host, name, edges.taken)
        taken = accepted(host, name, (*edges.taken, *edges.refused, *edges.either))
        assert [value for value in edges.taken if value not in taken] == []
        assert [value for value in edges.refused if value in taken] == []


def supported(host: Host, name: str, value: Value) -> None:
    """Raises `UnsupportedError` with QEMU's words when it has no such parameter."""
    (trial,) = emulator.tried(host, name, [value])
    if trial.in_force is None:
        assert trial.refusal, f"{host.name}: {name} is not listed, and yet QEMU takes it"
        raise UnsupportedError(f"{host.name}: {trial.refusal}")


def heeded(host: Host, name: str, values: tuple[Value, ...]) -> None:
    """Raises `UnsupportedError` when QEMU takes every value and none is ever in force: QEMU 7.2 has
    the levels of parallel connections in name only."""
    trials = emulator.tried(host, name, values)
    if len({trial.in_force for trial in trials}) == 1 and not any(one.refusal for one in trials):
        stays = f"takes every {name} and stays at {trials[0].in_force}"
        raise UnsupportedError(f"{host.name}: QEMU {stays}")


def accepted(host: Host, name: str, values: tuple[Value, ...]) -> list[Value]:
    """Those of `values` that QEMU takes. Whatever it says must be true of the value in force."""
    taken = []
    good = values[0]
    trials = emulator.tried(host, name, [good, *values])
    for before, trial in itertools.pairwise(trials):
        where = f"{host.name}: {name} {trial.value!r}"
        if trial.refusal:
            words = trial.refusal.replace("_", "-")
            assert name in words or str(trial.value) in words, f"{where}: {trial.refusal}"
            assert trial.in_force == before.in_force, f"{where} is refused and yet in force"
        else:
            assert trial.in_force == trial.value, f"{where} is taken, and {trial.in_force} in force"
            taken.append(trial.value)
    return taken
