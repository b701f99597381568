"""Boundary values of the documented parameters, set in both QEMUs through the monitor."""

import itertools
from dataclasses import dataclass

import pytest

from migqual.errors import UnsupportedError
from migqual.hosts import qemu_probe
from migqual.hosts.host import Host
from migqual.model.qemu_parameter import ParameterValue
from migqual.testbed.host_pair import HostPair
from migqual.units import MIB


@dataclass(frozen=True)
class BoundaryValues:
    """Boundary values of a migration parameter.

    Attributes:
        accepted_values: Values that QEMU must accept.
        refused_values: Values that QEMU must refuse.
        optional_values: Values that QEMU may accept or refuse. An accepted value must be in force
            afterwards. The error for a refused value must name the parameter or the value.
    """

    accepted_values: tuple[ParameterValue, ...]
    refused_values: tuple[ParameterValue, ...]
    optional_values: tuple[ParameterValue, ...] = ()


# zlib has level 0 (store only), and openEuler's zstd has levels up to 19
LEVEL_BOUNDARIES = BoundaryValues((1, 9), (20, 256, -1), (0, 10, 19))
THREAD_COUNT_BOUNDARIES = BoundaryValues((1, 255), (0, 256))
# QEMU may ignore these parameters; a documented parameter must have an effect.
UNDOCUMENTED_PARAMETERS = {
    "multifd-zlib-level",
    "multifd-zstd-level",
}
BOUNDARIES = {
    "compress-level": LEVEL_BOUNDARIES,
    "compress-threads": THREAD_COUNT_BOUNDARIES,
    "compress-wait-thread": BoundaryValues((True, False), ("maybe", 2)),
    "decompress-threads": THREAD_COUNT_BOUNDARIES,
    "compress-method": BoundaryValues(("zlib", "zstd"), ("none", "lzma")),
    # The minimum is a page. On aarch64 a QEMU without a machine uses the smallest possible page
    # size, 1 KiB.
    "xbzrle-cache-size": BoundaryValues((4096, 64 * MIB), (0, 1, 512, 5 * MIB), (1024,)),
    "multifd-zlib-level": BoundaryValues((0, 1, 9), (10, 256, -1)),
    "multifd-zstd-level": BoundaryValues((0, 1, 19, 20), (21, 256, -1)),
    "downtime-limit": BoundaryValues((0, 500, 2_000_000), (2_000_001, -1)),
    "max-bandwidth": BoundaryValues((MIB, 500 * MIB), (2**70, "fast")),
    "max-postcopy-bandwidth": BoundaryValues((0, MIB), (2**70, "fast")),
    "multifd-channels": BoundaryValues((1, 255), (0, 256)),
}


@pytest.mark.parametrize(
    "name",
    [
        pytest.param("compress-level", marks=pytest.mark.requirement("LM-PAR-04")),
        pytest.param(
            "multifd-zlib-level",
            marks=[pytest.mark.requirement("LM-PAR-04"), pytest.mark.beyond_requirement],
        ),
        pytest.param(
            "multifd-zstd-level",
            marks=[pytest.mark.requirement("LM-PAR-04"), pytest.mark.beyond_requirement],
        ),
        pytest.param("compress-threads", marks=pytest.mark.requirement("LM-PAR-05")),
        pytest.param("compress-wait-thread", marks=pytest.mark.requirement("LM-PAR-06")),
        pytest.param("decompress-threads", marks=pytest.mark.requirement("LM-PAR-07")),
        pytest.param("compress-method", marks=pytest.mark.requirement("LM-PAR-08")),
        pytest.param("downtime-limit", marks=pytest.mark.requirement("LM-PAR-01")),
        pytest.param("max-bandwidth", marks=pytest.mark.requirement("LM-PAR-02")),
        pytest.param(
            "max-postcopy-bandwidth",
            marks=[pytest.mark.requirement("LM-PAR-02"), pytest.mark.beyond_requirement],
        ),
        pytest.param("xbzrle-cache-size", marks=pytest.mark.requirement("LM-PAR-09")),
        pytest.param(
            "multifd-channels",
            marks=[pytest.mark.requirement("LM-PAR-09"), pytest.mark.beyond_requirement],
        ),
    ],
)
def test_parameter_boundaries(name: str, pair: HostPair) -> None:
    """
    QEMU on both hosts accepts the boundary values of a parameter, and refuses values out of range.

    Preconditions: on each host, a QEMU without a guest.
    Expected: after QEMU accepts a value, the value is in force. If QEMU refuses a value, the
    message names the parameter or the value, and the old value stays in force. If QEMU does not
    have the parameter, the verdict is unsupported, with the message of QEMU.
    """
    boundaries = BOUNDARIES[name]

    for host in pair.hosts:
        require_parameter_support(host, name, boundaries.accepted_values[0])
        if name in UNDOCUMENTED_PARAMETERS:
            require_parameter_effect(host, name, boundaries.accepted_values)
        accepted_values = list_accepted_values(
            host,
            name,
            (*boundaries.accepted_values, *boundaries.refused_values, *boundaries.optional_values),
        )
        assert [value for value in boundaries.accepted_values if value not in accepted_values] == []
        assert [value for value in boundaries.refused_values if value in accepted_values] == []


def require_parameter_support(host: Host, name: str, value: ParameterValue) -> None:
    """Require QEMU to have the parameter.

    Raises:
        UnsupportedError: QEMU has no such parameter. The error contains QEMU's message.
    """
    (trial,) = qemu_probe.try_parameter_values(host, name, [value])
    if trial.effective_value is None:
        assert trial.refusal, f"{host.name}: QEMU accepts {name}, but does not list it"
        raise UnsupportedError(f"{host.name}: {trial.refusal}")


def require_parameter_effect(host: Host, name: str, values: tuple[ParameterValue, ...]) -> None:
    """Require QEMU to change the migration parameter after QEMU accepts a value.

    Raises:
        UnsupportedError: QEMU accepts every value, but the value in force never changes. For
            example, QEMU 7.2 never changes `multifd-zlib-level` and `multifd-zstd-level`.
    """
    trials = qemu_probe.try_parameter_values(host, name, values)
    if len({trial.effective_value for trial in trials}) == 1 and not any(
        trial.refusal for trial in trials
    ):
        description = f"{name}: each value is accepted, but {trials[0].effective_value} is in force"
        raise UnsupportedError(f"{host.name}: QEMU ignores the parameter {description}")


def list_accepted_values(
    host: Host, name: str, values: tuple[ParameterValue, ...]
) -> list[ParameterValue]:
    """Set the migration parameter to each value, and return the values that QEMU accepts.

    An accepted value must be in force afterwards. After a refusal, the previous value must still
    be in force, and QEMU's error must name the parameter or the refused value.

    Raises:
        AssertionError: QEMU does not meet one of these conditions.
    """
    accepted_values = []
    initial_value = values[0]
    trials = qemu_probe.try_parameter_values(host, name, [initial_value, *values])
    for previous_trial, trial in itertools.pairwise(trials):
        context = f"{host.name}: {name} = {trial.value!r}"
        if trial.refusal:
            message = trial.refusal.replace("_", "-")
            assert name in message or str(trial.value) in message, (
                f"{context}: the error does not name the parameter or the value: {trial.refusal}"
            )
            assert trial.effective_value == previous_trial.effective_value, (
                f"{context} is refused, but {trial.effective_value} is in force"
            )
        else:
            assert trial.effective_value == trial.value, (
                f"{context} is accepted, but {trial.effective_value} is in force"
            )
            accepted_values.append(trial.value)
    return accepted_values
