"""Measure the inputs of a prediction on a running guest before the migration."""

from contextlib import suppress
from dataclasses import dataclass

from lxml import etree

from migqual.errors import UnsupportedError
from migqual.hosts import dirty_rate
from migqual.hosts.dirty_rate import MAX_SAMPLE_PAGES, DirtyRateMeasurement, DirtyRateMode
from migqual.hosts.domain import Domain
from migqual.hosts.host import Host
from migqual.predict.dirty_curve import DirtyModel
from migqual.predict.dirty_curve_fit import fit_dirty_model
from migqual.predict.memory_sample import PAGE_CONTENTS_MODE, sample_memory
from migqual.probes.probe_context import ProbeContext, ProbeMode

WHOLE_SECOND_WINDOWS_S = (1.0, 2.0, 5.0)  # what every stack measures
WINDOWS_S = (0.1, 0.2, 0.5, *WHOLE_SECOND_WINDOWS_S)
_KIB_PER_MIB = 1024


@dataclass(frozen=True)
class GuestMeasurement:
    """The measured memory and dirtying of a guest.

    Attributes:
        memory_to_send_mib: Memory in pages not all zero.
        total_mib: All memory.
        pages_counted: Whether the pages were counted. If not, all memory counts as memory to
            send.
        dirtied_mib_by_seconds: Memory dirtied in each window in MiB, by window length in s.
    """

    memory_to_send_mib: float
    total_mib: float
    pages_counted: bool
    dirtied_mib_by_seconds: dict[float, float]
    mode: str

    @property
    def dirty_model(self) -> DirtyModel:
        """Return the dirty model fitted to the measured windows."""
        return fit_dirty_model(self.dirtied_mib_by_seconds)


def measure_dirtying(host: Host, domain: Domain, probe_context: ProbeContext) -> GuestMeasurement:
    """Count the non-zero pages, and measure the dirty curve.

    KVM's dirty log comes first, because a migration reads the same log. Page contents serve the
    windows missing in the log, and guests without the log. Without page contents, QEMU's
    sampling measures the windows.
    """
    memory_kib = int(etree.fromstring(domain.read_live_xml()).findtext("memory") or 0)
    total_mib = memory_kib / _KIB_PER_MIB
    log_measurements = _measure_by_kvm_log(domain, probe_context)
    memory_sample = sample_memory(
        host, domain, memory_kib, probe_context, _list_missing_windows(log_measurements)
    )
    content_windows = (
        memory_sample.dirtied_mib_by_seconds if memory_sample else {}
    )  # none, too, where a look takes longer than all windows
    measurements = log_measurements or (
        [] if content_windows else _measure_by_sampling(domain, probe_context)
    )
    dirtied_mib_by_seconds = content_windows | {
        measurement.seconds: measurement.dirtied_mib for measurement in measurements
    }
    mode = measurements[0].mode if measurements else PAGE_CONTENTS_MODE
    return GuestMeasurement(
        memory_sample.nonzero_mib if memory_sample else total_mib,
        total_mib,
        memory_sample is not None,
        dirtied_mib_by_seconds,
        mode,
    )


def _list_missing_windows(log_measurements: list[DirtyRateMeasurement]) -> tuple[float, ...]:
    """List the windows missing in the log: all windows, or windows shorter than a second."""
    return tuple(
        seconds
        for seconds in WINDOWS_S
        if not log_measurements or seconds < min(WHOLE_SECOND_WINDOWS_S)
    )


def _measure_by_kvm_log(domain: Domain, probe_context: ProbeContext) -> list[DirtyRateMeasurement]:
    """Measure the windows with KVM's dirty log; empty when the log is not readable.

    Only an attempt shows whether the log is readable. A guest with a dirty ring has no dirty
    log, but QEMU lists the mode anyway. QEMU may refuse the attempt.
    """
    if not dirty_rate.has_kvm_dirty_log(domain):
        return []  # an emulated guest may die of the question
    with suppress(UnsupportedError):
        if probe_context.mode is ProbeMode.READ_ONLY:
            return [
                dirty_rate.measure_by_libvirt(domain, int(seconds), DirtyRateMode.BITMAP)
                for seconds in WHOLE_SECOND_WINDOWS_S
            ]
        if DirtyRateMode.BITMAP in dirty_rate.list_supported_modes(domain):
            return [
                dirty_rate.measure_by_qmp(domain, seconds, DirtyRateMode.BITMAP)
                for seconds in WHOLE_SECOND_WINDOWS_S
            ]
    return []


def _measure_by_sampling(domain: Domain, probe_context: ProbeContext) -> list[DirtyRateMeasurement]:
    """Measure the windows with QEMU's page sampling.

    Read-only probes use libvirt, because libvirt does not taint the guest. Otherwise the
    function uses QEMU's monitor, because the monitor allows more samples.
    """
    if probe_context.mode is ProbeMode.READ_ONLY:
        return [
            dirty_rate.measure_by_libvirt(domain, int(seconds))
            for seconds in WHOLE_SECOND_WINDOWS_S
        ]
    return [
        dirty_rate.measure_by_qmp(
            domain, seconds, DirtyRateMode.SAMPLING, sample_pages=MAX_SAMPLE_PAGES
        )
        for seconds in WHOLE_SECOND_WINDOWS_S
    ]
