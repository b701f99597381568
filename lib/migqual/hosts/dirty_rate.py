"""Measure how fast a guest dirties memory, with QMP or with libvirt.

The QMP commands are `calc-dirty-rate` and `query-dirty-rate`. The libvirt calls are
virDomainStartDirtyRateCalc and virDomainListGetStats. QEMU measures during a time window of a
given length, in one of three modes:

page-sampling  compares the contents of some pages before and after the window
dirty-bitmap   counts the pages in the dirty log; a migration reads the same log
dirty-ring     counts the entries in the dirty ring of each vCPU; needs KVM with dirty rings
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import libvirt

from migqual.deadline import Deadline
from migqual.errors import HostError, StackError, UnsupportedError
from migqual.hosts.domain import Domain

GRACE_SECONDS = 30.0  # wait for the result after the time window, because a host may be busy
MAX_SAMPLE_PAGES = 16384  # QEMU's limit for the compared pages in each GiB of guest memory
_MEASURED_STATUS = libvirt.VIR_DOMAIN_DIRTYRATE_MEASURED


class DirtyRateMode(StrEnum):
    """A measurement mode of QEMU's `calc-dirty-rate`."""

    SAMPLING = "page-sampling"
    BITMAP = "dirty-bitmap"
    RING = "dirty-ring"


_MODE_FLAGS = {
    DirtyRateMode.SAMPLING: libvirt.VIR_DOMAIN_DIRTYRATE_MODE_PAGE_SAMPLING,
    DirtyRateMode.BITMAP: libvirt.VIR_DOMAIN_DIRTYRATE_MODE_DIRTY_BITMAP,
    DirtyRateMode.RING: libvirt.VIR_DOMAIN_DIRTYRATE_MODE_DIRTY_RING,
}


@dataclass(frozen=True)
class DirtyRateMeasurement:
    """The result of a dirty-rate measurement.

    Attributes:
        mib_s: Dirty rate in whole MiB/s.
        seconds: Length of the time window.
        mode: Mode that QEMU or libvirt reported; empty when the mode was not reported.
    """

    mib_s: int
    seconds: float
    mode: str

    @property
    def dirtied_mib(self) -> float:
        """Return the memory that the guest dirtied in the time window, in MiB.

        QEMU rounds the rate down to whole MiB/s. The calculation adds 0.5 MiB/s to compensate.
        A rate of 0 stays 0.
        """
        return (self.mib_s + 0.5) * self.seconds if self.mib_s else 0.0


def list_supported_modes(domain: Domain) -> frozenset[DirtyRateMode]:
    """List the dirty-rate modes that QEMU supports, from QEMU's QMP schema.

    Returns:
        The supported modes. A QEMU whose `calc-dirty-rate` has no argument `mode` supports only
        page sampling.

    Raises:
        UnsupportedError: QEMU has no `calc-dirty-rate`.
    """
    mode_type = _query_argument_types(domain).get("mode")
    if mode_type is None:
        return frozenset({DirtyRateMode.SAMPLING})
    values = _query_qmp_schema(domain)[str(mode_type)].get("values", ())
    return frozenset(mode for mode in DirtyRateMode if mode.value in values)


def has_kvm_dirty_log(domain: Domain) -> bool:
    """Return whether the guest runs with KVM. The modes dirty-bitmap and dirty-ring need KVM.

    If a test uses the mode dirty-bitmap or dirty-ring for an emulated guest, QEMU may crash.
    """
    return domain.read_virt_type() == "kvm"


def can_measure_milliseconds(domain: Domain) -> bool:
    """Return whether QEMU accepts a time window in milliseconds (`calc-time-unit`)."""
    return "calc-time-unit" in _query_argument_types(domain)


def measure_by_qmp(
    domain: Domain,
    seconds: float,
    mode: DirtyRateMode | None = None,
    *,
    sample_pages: int | None = None,
) -> DirtyRateMeasurement:
    """Measure the dirty rate with QMP `calc-dirty-rate` and `query-dirty-rate`.

    Args:
        domain: The running domain.
        seconds: Length of the time window. A fraction is allowed only if
            `can_measure_milliseconds` is true.
        mode: Mode of the measurement; None leaves the choice to QEMU.
        sample_pages: Pages to compare in each GiB, at most `MAX_SAMPLE_PAGES`; None leaves the
            choice to QEMU.

    Returns:
        The rate and the mode reported by QEMU.

    Raises:
        UnsupportedError: QEMU refuses the command or the mode. The error has QEMU's message.
        StackError: libvirt refuses the monitor command.
        TimedOut: QEMU still has no result `GRACE_SECONDS` after the end of the window.
    """
    arguments: dict[str, Any] = {"calc-time": round(seconds)}
    if seconds != round(seconds):
        arguments = {"calc-time": round(seconds * 1000), "calc-time-unit": "millisecond"}
    if mode is not None:
        arguments["mode"] = mode.value
    if sample_pages is not None:
        arguments["sample-pages"] = sample_pages
    try:
        domain.run_qmp_command("calc-dirty-rate", **arguments)
    except HostError as error:
        if isinstance(error, StackError):
            raise
        raise UnsupportedError(error.message) from error

    def query_when_measured() -> dict[str, Any] | None:
        reply: dict[str, Any] = domain.run_qmp_command("query-dirty-rate")
        return reply if reply["status"] == "measured" else None

    measured = Deadline(seconds + GRACE_SECONDS).wait_for(
        f"the result of the dirty-rate measurement of {domain.name} on {domain.host}",
        query_when_measured,
    )
    return DirtyRateMeasurement(int(measured["dirty-rate"]), seconds, str(measured.get("mode", "")))


def measure_by_libvirt(
    domain: Domain, seconds: int, mode: DirtyRateMode = DirtyRateMode.SAMPLING
) -> DirtyRateMeasurement:
    """Measure the dirty rate with virDomainStartDirtyRateCalc and the domain statistics.

    libvirt before 8.1 does not report the mode that QEMU used. For such a libvirt, the result
    contains the requested mode.

    Args:
        domain: The running domain.
        seconds: Length of the time window.
        mode: Mode of the measurement.

    Returns:
        The rate and the mode.

    Raises:
        UnsupportedError: libvirt or QEMU refuses the measurement. The error has libvirt's
            message.
        TimedOut: libvirt still has no result `GRACE_SECONDS` after the end of the window.
    """
    try:
        domain.call_libvirt(
            "measure the dirty rate", lambda d: d.startDirtyRateCalc(seconds, _MODE_FLAGS[mode])
        )
    except StackError as error:
        raise UnsupportedError(error.message) from error

    def query_when_measured() -> dict[str, Any] | None:
        stats = _query_dirty_rate_stats(domain)
        return stats if stats.get("dirtyrate.calc_status") == _MEASURED_STATUS else None

    measured = Deadline(seconds + GRACE_SECONDS).wait_for(
        f"the result of the dirty-rate measurement of {domain.name} on {domain.host}",
        query_when_measured,
    )
    reported_mode = str(measured.get("dirtyrate.calc_mode", mode))
    return DirtyRateMeasurement(
        int(measured["dirtyrate.megabytes_per_second"]), seconds, reported_mode
    )


def _query_dirty_rate_stats(domain: Domain) -> dict[str, Any]:
    """Query the dirty-rate group of the domain statistics (virDomainListGetStats)."""
    stats_group = libvirt.VIR_DOMAIN_STATS_DIRTYRATE
    domain_stats = domain.call_libvirt(
        "query dirty rate", lambda d: d.connect().domainListGetStats([d], stats_group, 0)
    )
    return dict(domain_stats[0][1])


def _query_qmp_schema(domain: Domain) -> dict[str, dict[str, Any]]:
    return {str(entry["name"]): entry for entry in domain.run_qmp_command("query-qmp-schema")}


def _query_argument_types(domain: Domain) -> dict[str, object]:
    """Query the type of each argument of `calc-dirty-rate`, by argument name.

    Raises:
        UnsupportedError: QEMU has no `calc-dirty-rate`.
    """
    schema = _query_qmp_schema(domain)
    if "calc-dirty-rate" not in schema:
        raise UnsupportedError(f"{domain.host}: QEMU has no QMP command calc-dirty-rate")
    members = schema[str(schema["calc-dirty-rate"]["arg-type"])]["members"]
    return {str(member["name"]): member["type"] for member in members}
