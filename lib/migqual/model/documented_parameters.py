"""Compare migration parameters of QEMU with the defaults in openEuler's documentation.

https://docs.openeuler.org/en/docs/24.03_LTS/docs/Virtualization/vm-live-migration.html
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from migqual.units import MIB

# In the order of openEuler's documentation. None means that the documentation names the parameter,
# but no default.
DOCUMENTED_DEFAULTS: Mapping[str, bool | int | str | None] = {
    "compress-level": 1,
    "compress-threads": 8,
    "compress-wait-thread": True,
    "decompress-threads": 2,
    "compress-method": "zlib",
    "xbzrle-cache-size": None,
    "cpu-throttle-initial": None,
    "cpu-throttle-increment": None,
    "max-cpu-throttle": None,
    "announce-initial": None,
    "announce-max": None,
    "announce-rounds": None,
    "announce-step": None,
    "multifd-channels": None,
    "block-incremental": None,
    "downtime-limit": None,
    "max-bandwidth": None,
    "max-postcopy-bandwidth": None,
    "tls-authz": None,
    "tls-creds": None,
    "tls-hostname": None,
    "x-checkpoint-delay": None,
}


@dataclass(frozen=True)
class ParameterComparison:
    """The value of a migration parameter in QEMU, and the documented default of the parameter.

    Attributes:
        value: Value in QEMU. None means that QEMU does not have the parameter.
        default: Default in openEuler's documentation. None means that the documentation contains no
            default.
    """

    name: str
    value: bool | int | str | None
    default: bool | int | str | None

    @property
    def is_missing(self) -> bool:
        """Return whether QEMU does not have the parameter."""
        return self.value is None

    @property
    def differs_from_default(self) -> bool:
        """Return whether `value` and `default` are different, and neither is None."""
        return not self.is_missing and self.default is not None and self.value != self.default


def compare_parameters(parameters: Mapping[str, Any]) -> Iterator[ParameterComparison]:
    """Compare QEMU's migration parameters with openEuler's documentation.

    Args:
        parameters: QEMU's reply to `query-migrate-parameters`.

    Yields:
        A comparison for each documented parameter, in the order of the documentation. Then a
        comparison for each parameter that only QEMU has, sorted by name.
    """
    for name, default in DOCUMENTED_DEFAULTS.items():
        yield ParameterComparison(name, parameters.get(name), default)
    for name in sorted(parameters.keys() - DOCUMENTED_DEFAULTS.keys()):
        yield ParameterComparison(name, parameters[name], None)


def convert_to_mbit_s(mib_s: float) -> float:
    """Convert a bandwidth from MiB/s (libvirt) to Mbit/s (openEuler's documentation)."""
    return mib_s * MIB * 8 / 1_000_000
