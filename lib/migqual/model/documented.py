"""The migration parameters that openEuler's documentation names, and what it says of them.

https://docs.openeuler.org/en/docs/24.03_LTS/docs/Virtualization/vm-live-migration.html
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

MIB = 2**20

# in the order of the page's table and listing; None: the page gives the name and no default
DEFAULTS: Mapping[str, bool | int | str | None] = {
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
class Row:
    """A documented parameter beside the one in force; `value` is None where the stack lacks it."""

    name: str
    value: bool | int | str | None
    default: bool | int | str | None

    @property
    def lacking(self) -> bool:
        return self.value is None

    @property
    def differs(self) -> bool:
        """From the documented default, where there is one."""
        return not self.lacking and self.default is not None and self.value != self.default


def rows(parameters: Mapping[str, Any]) -> Iterator[Row]:
    """Every documented parameter, then those that only this stack has, in the order of names.

    `parameters`: what `query-migrate-parameters` returned.
    """
    for name, default in DEFAULTS.items():
        yield Row(name, parameters.get(name), default)
    for name in sorted(parameters.keys() - DEFAULTS.keys()):
        yield Row(name, parameters[name], None)


def mbit_s(mib_s: float) -> float:
    """libvirt counts bandwidth in MiB/s, the page in Mbit/s: what the first is in the second."""
    return mib_s * MIB * 8 / 1_000_000
