"""How fast a guest dirties its memory, as QEMU measures it: asked through the monitor, as the
documented procedure does, and through libvirt (virDomainStartDirtyRateCalc, domain statistics).

page-sampling  compares the contents of some pages before and after
dirty-bitmap   counts what the log of dirty pages holds, the one that a migration reads
dirty-ring     counts what each vCPU wrote into its ring; KVM only, and only where it was set up
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import libvirt

from migqual.deadline import Deadline
from migqual.errors import HostError, StackError, UnsupportedError
from migqual.hosts.domain import Domain

GRACE_SECONDS = 30.0  # beside the window itself, on hosts with much to do
MOST_SAMPLES = 16384  # pages of each GiB: what QEMU allows at most
_LIBVIRT_MEASURED = libvirt.VIR_DOMAIN_DIRTYRATE_MEASURED


class Mode(StrEnum):
    SAMPLING = "page-sampling"
    BITMAP = "dirty-bitmap"
    RING = "dirty-ring"


_FLAGS = {
    Mode.SAMPLING: libvirt.VIR_DOMAIN_DIRTYRATE_MODE_PAGE_SAMPLING,
    Mode.BITMAP: libvirt.VIR_DOMAIN_DIRTYRATE_MODE_DIRTY_BITMAP,
    Mode.RING: libvirt.VIR_DOMAIN_DIRTYRATE_MODE_DIRTY_RING,
}


@dataclass(frozen=True)
class Measured:
    """Unique memory dirtied in `seconds`, as a rate. `mode` as the stack names it back."""

    mib_s: int
    seconds: float
    mode: str

    @property
    def mib(self) -> float:
        """What was dirtied. QEMU cuts the rate to whole MiB/s; half of one is put back."""
        return (self.mib_s + 0.5) * self.seconds if self.mib_s else 0.0


def modes(domain: Domain) -> frozenset[Mode]:
    """Those that QEMU's schema lists. Raises `UnsupportedError` where it cannot measure at all."""
    known = _arguments(domain).get("mode")
    if known is None:
        return frozenset({Mode.SAMPLING})
    values = _schema(domain)[str(known)].get("values", ())
    return frozenset(mode for mode in Mode if mode.value in values)


def counts_kvm(domain: Domain) -> bool:
    """Whether the log that dirty-bitmap and dirty-ring read is there: it is KVM's. A QEMU may die
    when a guest that it emulates is asked."""
    return domain.virt() == "kvm"


def measures_milliseconds(domain: Domain) -> bool:
    """Whether a window may be shorter than a second (`calc-time-unit`)."""
    return "calc-time-unit" in _arguments(domain)


def by_monitor(
    domain: Domain, seconds: float, mode: Mode | None = None, *, samples: int | None = None
) -> Measured:
    """calc-dirty-rate, then query-dirty-rate until it is there. `mode` None leaves the choice to
    QEMU, as the documented command does; `samples` are pages of each GiB.

    Raises `UnsupportedError` with QEMU's words where it refuses the mode.
    """
    arguments: dict[str, Any] = {"calc-time": round(seconds)}
    if seconds != round(seconds):
        arguments = {"calc-time": round(seconds * 1000), "calc-time-unit": "millisecond"}
    if mode is not None:
        arguments["mode"] = mode.value
    if samples is not None:
        arguments["sample-pages"] = samples
    try:
        domain.monitor("calc-dirty-rate", **arguments)
    except HostError as error:
        if isinstance(error, StackError):
            raise
        raise UnsupportedError(error.message) from error

    def answer() -> dict[str, Any] | None:
        found: dict[str, Any] = domain.monitor("query-dirty-rate")
        return found if found["status"] == "measured" else None

    found = Deadline(seconds + GRACE_SECONDS).wait_for(f"{domain.name}: its dirty rate", answer)
    return Measured(int(found["dirty-rate"]), seconds, str(found.get("mode", "")))


def by_libvirt(domain: Domain, seconds: int, mode: Mode = Mode.SAMPLING) -> Measured:
    """virDomainStartDirtyRateCalc, then the domain's statistics until it is there. A libvirt before
    8.1 does not name the mode back: it is the one that was asked for.

    Raises `UnsupportedError` with the stack's words where it refuses.
    """
    try:
        domain.start_dirty_rate(seconds, _FLAGS[mode])
    except StackError as error:
        raise UnsupportedError(error.message) from error

    def answer() -> dict[str, Any] | None:
        found = domain.dirty_rate()
        return found if found.get("dirtyrate.calc_status") == _LIBVIRT_MEASURED else None

    found = Deadline(seconds + GRACE_SECONDS).wait_for(f"{domain.name}: its dirty rate", answer)
    named = str(found.get("dirtyrate.calc_mode", mode))
    return Measured(int(found["dirtyrate.megabytes_per_second"]), seconds, named)


def _schema(domain: Domain) -> dict[str, dict[str, Any]]:
    return {str(entry["name"]): entry for entry in domain.monitor("query-qmp-schema")}


def _arguments(domain: Domain) -> dict[str, object]:
    """The arguments that calc-dirty-rate takes, and the names of their types."""
    schema = _schema(domain)
    if "calc-dirty-rate" not in schema:
        raise UnsupportedError(f"{domain.host}: QEMU has no calc-dirty-rate")
    members = schema[str(schema["calc-dirty-rate"]["arg-type"])]["members"]
    return {str(member["name"]): member["type"] for member in members}
