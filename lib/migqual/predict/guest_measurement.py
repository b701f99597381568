"""Measure the non-zero memory and the dirty rate of a running guest, for a prediction."""

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
_SAMPLES_PER_GIB = 16384  # the highest number that QEMU's page sampling accepts
_MAX_SAMPLES = 131072
WHOLE_SECOND_WINDOWS_S = (1.0, 2.0, 5.0)  # window lengths that every stack can measure
WINDOWS_S = (0.1, 0.2, 0.5, *WHOLE_SECOND_WINDOWS_S)
_KIB_PER_MIB = 1024


@dataclass(frozen=True)
class MemorySample:
    """A sample of a guest's memory.

    Attributes:
        nonzero_mib: Memory in pages that are not all zero, in MiB.
        dirtied_mib_by_seconds: MiB of memory changed in each time window, by window length in s.
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
    """Count the guest's non-zero pages, and measure the memory that changes in each time window.

    The program migqual-payload on the host reads the memory of the QEMU process. The program sends
    no request to the guest or to QEMU's monitor. A page written again with the same contents does
    not count as changed. All windows begin at the same time, so the call takes as long as the
    longest window.

    Args:
        host: Host of the guest.
        domain: The running guest.
        memory_kib: Size of the guest's memory in KiB.
        probe_context: Context with the path of migqual-payload on the host.
        windows_s: Window lengths in s, in ascending order.

    Returns:
        The sample, or None if migqual-payload fails. For example, migqual-payload fails if the
        QEMU process has no memory mapping of the given size.

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
    """Parse the output of `migqual-payload census`.

    The first line has the numbers of non-zero pages, existing pages and sampled pages. Each
    further line has the length of a time window in µs, and the number of sampled pages that
    changed. A window has no line if the window is too short to read all sampled pages.
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
    """The measured memory contents and memory writes of a guest.

    Attributes:
        memory_to_send_mib: Memory in non-zero pages, or all memory if `pages_counted` is False.
        total_mib: Size of the guest's memory.
        pages_counted: Whether the non-zero pages were counted.
        dirtied_mib_by_seconds: MiB of memory dirtied in each time window, by window length in s.
        mode: Method of the measurement, `page-contents` or a mode of QMP `calc-dirty-rate`.
    """

    memory_to_send_mib: float
    total_mib: float
    pages_counted: bool
    dirtied_mib_by_seconds: dict[float, float]
    mode: str

    @property
    def dirty_model(self) -> DirtyModel:
        """Return the model of the guest's writes that fits the measurement.

        The measurement has the memory dirtied in time windows of different lengths.
        """
        return fit_dirty_model(self.dirtied_mib_by_seconds)


def measure_dirtying(host: Host, domain: Domain, probe_context: ProbeContext) -> GuestMeasurement:
    """Count the non-zero pages of the guest, and measure the memory dirtied in each time window.

    There are three methods:

    - If QEMU can read KVM's dirty log, which a migration also reads, the log measures the windows
      of 1, 2 and 5 s.
    - The program migqual-payload compares page contents. The program measures the windows that the
      log does not measure: the windows below 1 s or, without the log, all windows.
    - If neither the log nor the program can measure, QEMU's page sampling measures the windows of
      1, 2 and 5 s.
    """
    memory_kib = int(etree.fromstring(domain.read_live_xml()).findtext("memory") or 0)
    total_mib = memory_kib / _KIB_PER_MIB
    log_measurements = _measure_by_kvm_log(domain, probe_context)
    memory_sample = sample_memory(
        host, domain, memory_kib, probe_context, _list_missing_windows(log_measurements)
    )
    content_windows = (
        memory_sample.dirtied_mib_by_seconds if memory_sample else {}
    )  # also empty if one read of the sampled pages takes longer than every window
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
    """List the lengths in s of the windows that the dirty log did not measure."""
    return tuple(
        seconds
        for seconds in WINDOWS_S
        if not log_measurements or seconds < min(WHOLE_SECOND_WINDOWS_S)
    )


def _measure_by_kvm_log(domain: Domain, probe_context: ProbeContext) -> list[DirtyRateMeasurement]:
    """Measure the memory dirtied in time windows of 1, 2 and 5 s, in QEMU's mode dirty-bitmap.

    In this mode, QEMU reads the dirty log of KVM. If QEMU cannot read the log, the result is empty.
    Only an attempt shows whether QEMU can read the log. For a guest with a dirty ring, QEMU's
    schema lists the mode dirty-bitmap, but QEMU refuses the measurement.
    """
    if not dirty_rate.has_kvm_dirty_log(domain):
        return []  # the measurement may crash QEMU of an emulated guest
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
    """Measure the memory dirtied in time windows of 1, 2 and 5 s, in QEMU's mode page-sampling.

    If `probe_context` allows only read-only probes, the function calls libvirt, because a monitor
    command would taint the domain. Otherwise the function uses QEMU's monitor, because the monitor
    allows more samples.
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
