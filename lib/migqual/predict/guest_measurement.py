"""Measure the inputs of a prediction on a running guest: dirty rate and memory contents."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

from lxml import etree

from migqual.errors import HostError, UnsupportedError
from migqual.hosts import dirty_rate
from migqual.hosts.dirty_rate import MAX_SAMPLE_PAGES, DirtyRateMeasurement, DirtyRateMode
from migqual.hosts.domain import Domain
from migqual.hosts.host import Host
from migqual.predict.dirty_curve import DirtyModel, fit_dirty_model
from migqual.probes.probe_context import ProbeContext, ProbeMode
from migqual.units import MIB

PAGE_CONTENTS_MODE = "page-contents"
_PAGE_BYTES = 4096
_KIB_PER_GIB = 2**20
_SAMPLES_PER_GIB = 16384  # as many as QEMU takes at most
_MAX_SAMPLES = 131072
WHOLE_SECOND_WINDOWS_S = (1.0, 2.0, 5.0)  # what every stack measures
WINDOWS_S = (0.1, 0.2, 0.5, *WHOLE_SECOND_WINDOWS_S)
_KIB_PER_MIB = 1024


@dataclass(frozen=True)
class MemorySample:
    """A sample of a guest's memory.

    Attributes:
        nonzero_mib: Memory in pages not all zero.
        dirtied_mib_by_seconds: Memory changed in each window in MiB, by window length in s.
    """

    nonzero_mib: float
    dirtied_mib_by_seconds: dict[float, float]


def sample_memory(
    host: Host,
    domain: Domain,
    memory_kib: int,
    probe_context: ProbeContext,
    windows_s: Sequence[float],
) -> MemorySample | None:
    """Sample the guest's memory with the payload: non-zero pages, and changed pages.

    The payload reads the memory of the QEMU process, without a request to the guest or to QEMU's
    monitor. A page written again with the same contents is not detected. All windows begin
    together, so the sample takes as long as the longest window.

    Args:
        host: Host of the guest.
        domain: The running guest.
        memory_kib: Size of the guest's memory in KiB.
        probe_context: Context with the payload on the host.
        windows_s: Window lengths in s, in ascending order.

    Returns:
        The sample; None when QEMU's memory is not a single mapping of the given size.

    Raises:
        HostError: The host has no QEMU process for the domain.
    """
    pids = host.list_qemu_pids(domain.name)
    if not pids:
        raise HostError(host.name, f"there is no QEMU process of guest {domain.name}")
    samples = min(_MAX_SAMPLES, _SAMPLES_PER_GIB * max(1, memory_kib // _KIB_PER_GIB))
    argv = [
        probe_context.get_payload_path(host),
        "census",
        "--pid",
        str(pids[0]),
        "--kib",
        str(memory_kib),
    ]
    argv += ["--samples", str(samples)]
    argv += ["--windows", ",".join(f"{seconds * 1000:.0f}" for seconds in windows_s)]
    result = host.shell.run_unchecked(*argv)
    return parse_memory_sample(result.stdout) if result.status == 0 else None


def parse_memory_sample(text: str) -> MemorySample:
    """Parse the output of the payload.

    The first line is `FILLED BACKED SAMPLED`, in pages. A line `MICROSECONDS CHANGED` follows
    for each window long enough to read all sampled pages.
    """
    (filled_pages, backed_pages, sampled_pages), *window_rows = (
        [int(number) for number in line.split()] for line in text.splitlines()
    )
    mib_per_sample = backed_pages / sampled_pages * _PAGE_BYTES / MIB if sampled_pages else 0.0
    dirtied_mib_by_seconds = {
        round(microseconds / 1e6, 3): changed_samples * mib_per_sample
        for microseconds, changed_samples in window_rows
    }
    return MemorySample(filled_pages * _PAGE_BYTES / MIB, dirtied_mib_by_seconds)


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
