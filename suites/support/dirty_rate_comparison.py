"""Compare the dirty rate measured by QEMU with the memory that the guest really dirtied."""

import math
from collections.abc import Callable
from dataclasses import dataclass

from fixtures.plugins.guests import RecordFigures
from migqual.errors import InconclusiveError
from migqual.hosts.dirty_rate import DirtyRateMeasurement
from migqual.hosts.domain import Domain
from migqual.hosts.guest import Guest
from migqual.hosts.memory_region import MemoryRegion, memory_region
from migqual.model.guest_spec import MemoryLoad, WritePattern, WrittenPart
from migqual.model.profile import Profile
from migqual.predict.dirty_curve import build_load_curve

# Sampling is random: QEMU samples 512 pages of each GiB by default, and a page is dirty or
# clean. Enough windows are measured to sample about this many dirty pages: one standard
# deviation is 8 %.
MIN_DIRTY_SAMPLES = 150
DEFAULT_SAMPLES_PER_MIB = 0.5
# An idle guest still answers probes. QEMU samples 256 pages of 512 MiB, so a single dirty page
# counts as 2 MiB/s. Half a MiB/s is added to every figure except 0, because QEMU rounds down.
IDLE_MAX_MIB_S = 5.0
IDLE_WINDOWS = 3
WORKING_SET_MIB = 256
DIRTY_RATE_MIB_S = 120
LOADS = {
    "idle": MemoryLoad(
        WORKING_SET_MIB, 0, WritePattern.SEQUENTIAL, written_part=WrittenPart.HEADER
    ),
    "sequential": MemoryLoad(
        WORKING_SET_MIB, DIRTY_RATE_MIB_S, WritePattern.SEQUENTIAL, written_part=WrittenPart.HEADER
    ),
    "random": MemoryLoad(
        WORKING_SET_MIB, DIRTY_RATE_MIB_S, WritePattern.RANDOM, written_part=WrittenPart.HEADER
    ),
    "hot spot": MemoryLoad(
        WORKING_SET_MIB, DIRTY_RATE_MIB_S, WritePattern.HOT_SPOT, written_part=WrittenPart.HEADER
    ),
    "fastest": MemoryLoad(
        WORKING_SET_MIB, None, WritePattern.SEQUENTIAL, written_part=WrittenPart.HEADER
    ),
}


@dataclass(frozen=True)
class MeasurementMethod:
    """A method to measure the dirty rate of a domain.

    Attributes:
        measure: Function to measure the dirty rate of a domain during a time in s.
        seconds: Length of a measurement window.
        samples_per_mib: Pages sampled in each MiB.
    """

    measure: Callable[[Domain, int], DirtyRateMeasurement]
    seconds: int
    samples_per_mib: float = DEFAULT_SAMPLES_PER_MIB

    def count_windows(self, dirtied_mib: float) -> int:
        """Return the number of windows to measure, so that their mean rate is accurate enough.

        Args:
            dirtied_mib: Memory dirtied in each window; 0 for an idle guest.
        """
        return (
            max(1, math.ceil(MIN_DIRTY_SAMPLES / (dirtied_mib * self.samples_per_mib)))
            if dirtied_mib
            else IDLE_WINDOWS
        )


@dataclass(frozen=True)
class RateComparison:
    """The dirty rate that QEMU measured, and the actual dirty rate of the guest.

    A page that the guest writes several times during a measurement counts once.

    Attributes:
        measured_mib_s: Rate measured by QEMU.
        actual_mib_s: Rate computed from the writes that the payload in the guest counted.
        mode: Measurement mode reported by libvirt or QEMU.
    """

    measured_mib_s: float
    actual_mib_s: float
    mode: str

    @property
    def error_percent(self) -> float:
        """Return the error of the rate measured by QEMU, in per cent of the guest's actual rate.

        The error is NaN for an idle guest, whose actual rate is 0.
        """
        return (
            100 * (self.measured_mib_s - self.actual_mib_s) / self.actual_mib_s
            if self.actual_mib_s
            else math.nan
        )

    def is_within_tolerance(self, profile: Profile) -> bool:
        """Return whether the measured rate is near enough to the actual rate.

        The profile has the tolerance, in percent. For an idle guest, whose actual rate is 0, the
        measured rate may be 5 MiB/s at most.
        """
        if not self.actual_mib_s:
            return self.measured_mib_s <= IDLE_MAX_MIB_S
        return abs(self.error_percent) <= profile.thresholds.dirty_rate_tolerance_percent


def compare_rates(
    memory_region: MemoryRegion, load: MemoryLoad, method: MeasurementMethod
) -> RateComparison:
    """Measure the dirty rate under the load with QEMU, and compute the actual dirty rate.

    The actual dirty rate follows from the writes that the payload in the guest counts.

    Raises:
        InconclusiveError: The guest wrote too slowly. The limit is half of the requested rate, or
            1 MiB/s if the load requests no rate.
    """
    requested_mib_s = load.size_mib if load.rate_mib_s is None else load.rate_mib_s
    window_count = method.count_windows(
        build_load_curve(load.pattern, requested_mib_s, load.size_mib)(method.seconds)
    )
    memory_region.set_dirty_rate(load.rate_mib_s)
    measurements = [
        method.measure(memory_region.guest.domain, method.seconds) for _ in range(window_count)
    ]
    written_mib_s = memory_region.query_dirty_rate_mib_s()
    min_written_mib_s = 1.0 if load.rate_mib_s is None else load.rate_mib_s / 2
    if written_mib_s < min_written_mib_s:
        raise InconclusiveError(
            f"the guest dirtied {written_mib_s} MiB/s instead of {requested_mib_s} MiB/s"
        )
    actual_mib_s = (
        build_load_curve(load.pattern, written_mib_s, load.size_mib)(method.seconds)
        / method.seconds
    )
    measured_mib_s = sum(
        measurement.dirtied_mib / measurement.seconds for measurement in measurements
    ) / len(measurements)
    return RateComparison(measured_mib_s, actual_mib_s, measurements[0].mode)


def compare_all_loads(guest: Guest, method: MeasurementMethod) -> dict[str, RateComparison]:
    """Compare the measured rate with the actual rate under every load.

    Loads with the same pattern share a memory region, because filling a region takes long.
    """
    comparisons: dict[str, RateComparison] = {}
    for pattern in WritePattern:
        pattern_loads = {name: load for name, load in LOADS.items() if load.pattern is pattern}
        with memory_region(guest, next(iter(pattern_loads.values()))) as dirtied_region:
            comparisons |= {
                name: compare_rates(dirtied_region, load, method)
                for name, load in pattern_loads.items()
            }
    return comparisons


def find_tolerance_violations(
    comparisons: dict[str, RateComparison], profile: Profile
) -> dict[str, RateComparison]:
    return {
        name: comparison
        for name, comparison in comparisons.items()
        if not comparison.is_within_tolerance(profile)
    }


def report_comparisons(
    record_figures: RecordFigures, title: str, comparisons: dict[str, RateComparison]
) -> None:
    """Add the measured and the actual dirty rate of each load to the report.

    The report also shows by how many per cent each measured rate is wrong, and QEMU's measurement
    mode.
    """
    rates = {
        name: f"measured {comparison.measured_mib_s:.1f} MiB/s, "
        f"actual {comparison.actual_mib_s:.1f} MiB/s"
        for name, comparison in comparisons.items()
    }
    errors = {
        f"{name}_error_percent": round(comparison.error_percent, 1)
        for name, comparison in comparisons.items()
        if comparison.actual_mib_s
    }
    record_figures(title, {"mode": comparisons["sequential"].mode, **rates, **errors})
