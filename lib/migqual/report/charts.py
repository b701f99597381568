"""Compute the positions of points and ticks in the charts of the HTML report.

A chart has a row for each combination of a metric and a pair. The row contains a point for each
migration. The functions are pure.
"""

import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from migqual.model.outcome import MigrationStatus
from migqual.model.record import MigrationRecord, TestRecord

LEFT_MARGIN, RIGHT_MARGIN, CHART_WIDTH = 250.0, 96.0, 960.0
ROW_HEIGHT, TOP_MARGIN, BOTTOM_MARGIN = 34.0, 6.0, 34.0
POINT_SPREAD = 9.0  # largest distance of a point from the line of its row, up or down, in px
LOGARITHMIC_RATIO = 40  # largest value / smallest value; above this the scale is logarithmic


@dataclass(frozen=True)
class ChartPoint:
    """A point of a chart, which shows the value of a metric in a single migration.

    Attributes:
        x: Distance from the left edge of the chart, in px.
        y: Distance from the upper edge of the chart, in px.
        tooltip: Text that the browser shows when the mouse pointer is on the point.
    """

    x: float
    y: float
    tooltip: str


@dataclass(frozen=True)
class ChartRow:
    """A row of a chart, with the values of a metric in all migrations of the same kind.

    The migrations have the same pair, or the same encryption and number of channels.

    Attributes:
        y: Distance from the upper edge of the chart, in px.
        median: Median of the values, in the unit of the chart.
        median_x: Distance of the median from the left edge of the chart, in px.
    """

    label: str
    y: float
    points: tuple[ChartPoint, ...]
    median: float
    median_x: float


@dataclass(frozen=True)
class Chart:
    """A chart with rows of points on a common horizontal scale. All lengths are in px.

    Attributes:
        unit: Unit of the values.
        ticks: For each tick, the distance from the left edge and the label.
    """

    title: str
    note: str
    unit: str
    rows: tuple[ChartRow, ...]
    ticks: tuple[tuple[float, str], ...]
    height: float
    logarithmic: bool
    width: float = CHART_WIDTH
    plot_left: float = LEFT_MARGIN
    plot_right: float = CHART_WIDTH - RIGHT_MARGIN


@dataclass(frozen=True)
class ChartDefinition:
    """The title, the note, the unit and the metrics of a chart.

    Attributes:
        metrics: Label of each metric in the chart, by name of the metric.
    """

    title: str
    note: str
    unit: str
    metrics: Mapping[str, str]


CHART_DEFINITIONS = (
    ChartDefinition(
        "Downtime and gap",
        "QEMU and libvirt report the downtime; the client measures the longest gap",
        "ms",
        {
            "downtime_qemu_ms": "downtime, QEMU",
            "downtime_libvirt_ms": "downtime, libvirt",
            "gap_max_ms": "longest gap",
        },
    ),
    ChartDefinition(
        "Throughput",
        "the throughput is the guest memory that a migration sends per second",
        "MiB/s",
        {"throughput_avg_mib_s": "average"},
    ),
    ChartDefinition(
        "Total time",
        "the total time lasts from the start of a migration to its completion",
        "ms",
        {"total_time_ms": "total time"},
    ),
)


# charts of the tests that compare transfers with and without TLS and channels; a row for each kind
ENCRYPTION_REQUIREMENT = "LM-TLS-05"
ENCRYPTION_CHART_DEFINITIONS = (
    ChartDefinition(
        "Cost of encryption: throughput",
        "the tests migrate the same guest without TLS, with TLS, and with TLS and several channels",
        "MiB/s",
        {"throughput_avg_mib_s": "average"},
    ),
    ChartDefinition(
        "Cost of encryption: total time and downtime",
        "the tests migrate the same guest without TLS, with TLS, and with TLS and several channels",
        "ms",
        {"total_time_ms": "total time", "downtime_libvirt_ms": "downtime, libvirt"},
    ),
)

# returns the row label for a migration, or None to leave out the migration
RowLabeler = Callable[[TestRecord, MigrationRecord], str | None]


def build_charts(records: Sequence[TestRecord]) -> tuple[Chart, ...]:
    """Build the charts of the report from the migrations in `records`.

    The charts show only completed migrations. A chart without a value is left out.
    """
    charts = [build_chart(definition, records, _describe_pair) for definition in CHART_DEFINITIONS]
    charts += [
        build_chart(subject, records, _describe_transfer)
        for subject in ENCRYPTION_CHART_DEFINITIONS
    ]
    return tuple(chart for chart in charts if chart)


def build_chart(
    definition: ChartDefinition, records: Sequence[TestRecord], row_labeler: RowLabeler
) -> Chart | None:
    """Build a chart with a point for each metric of each completed migration.

    Args:
        definition: Title, note, unit and metrics of the chart.
        records: Test records with the migrations.
        row_labeler: Function that returns the row label of a migration, or None to leave out the
            migration.

    Returns:
        The chart, or None if no completed migration has a value of the metrics.
    """
    series = {
        f"{label} · {row_name}": figures
        for metric, label in definition.metrics.items()
        for row_name, figures in _group_figures(row_labeler, metric, records).items()
    }
    values = [value for figures in series.values() for value, _ in figures]
    if not values:
        return None
    scale = Scale.fit_to_values(values)
    rows = tuple(
        _build_row(label, TOP_MARGIN + ROW_HEIGHT * (index + 0.5), figures, scale, definition.unit)
        for index, (label, figures) in enumerate(series.items())
    )
    return Chart(
        title=definition.title,
        note=definition.note,
        unit=definition.unit,
        rows=rows,
        ticks=tuple((scale.map_to_x(tick), f"{tick:g}") for tick in scale.list_ticks()),
        height=TOP_MARGIN + ROW_HEIGHT * len(rows) + BOTTOM_MARGIN,
        logarithmic=scale.logarithmic,
    )


def _group_figures(
    row_labeler: RowLabeler, metric: str, records: Sequence[TestRecord]
) -> dict[str, list[tuple[float, str]]]:
    figures_by_row: dict[str, list[tuple[float, str]]] = {}
    for record in records:
        for migration in record.migrations:
            value = migration.metrics.get(metric)
            row_name = row_labeler(record, migration)
            if (
                value is not None
                and row_name is not None
                and migration.status == MigrationStatus.COMPLETED
            ):
                figures_by_row.setdefault(row_name, []).append((value, record.id))
    return dict(sorted(figures_by_row.items()))


def _describe_pair(record: TestRecord, _migration: MigrationRecord) -> str:
    if record.pair is None:
        return "no pair"
    return f"{record.pair.source} → {record.pair.destination}{record.pair.suffix}"


def _describe_transfer(record: TestRecord, migration: MigrationRecord) -> str | None:
    """Describe TLS and channels of a migration, e.g. ``TLS, 4 channels``.

    Returns:
        The description, or None if the test does not belong to requirement LM-TLS-05.
    """
    if ENCRYPTION_REQUIREMENT not in record.requirements:
        return None
    channels = migration.plan.get("channels")
    encryption = "TLS" if migration.plan.get("tls") else "plain"
    return f"{encryption}, {channels} channels" if channels else encryption


def _build_row(
    label: str, y: float, figures: Sequence[tuple[float, str]], scale: "Scale", unit: str
) -> ChartRow:
    median = statistics.median(value for value, _ in figures)
    points = tuple(
        ChartPoint(
            scale.map_to_x(value), y + _compute_point_offset(index), f"{value:g} {unit}: {test_id}"
        )
        for index, (value, test_id) in enumerate(figures)
    )
    return ChartRow(label, y, points, median, scale.map_to_x(median))


def _compute_point_offset(index: int) -> float:
    """Compute how far a point is moved down from the line of its row, in px.

    A negative offset moves the point up. Each point of a row has its own offset, so that points
    with equal values do not hide each other. Multiples of the golden ratio spread the points
    evenly. The same index always gives the same offset.
    """
    return ((index * 0.618034) % 1.0 - 0.5) * 2 * POINT_SPREAD


@dataclass(frozen=True)
class Scale:
    """A scale that maps values to px, linear from 0 or logarithmic between powers of ten."""

    low: float
    high: float
    logarithmic: bool

    @classmethod
    def fit_to_values(cls, values: Sequence[float]) -> "Scale":
        """Choose the scale for `values`.

        The scale is logarithmic if all values are positive and the largest value is more than
        `LOGARITHMIC_RATIO` times the smallest value.
        """
        minimum, maximum = min(values), max(values)
        if minimum > 0 and maximum / minimum > LOGARITHMIC_RATIO:
            return cls(
                10 ** math.floor(math.log10(minimum)),
                10 ** math.ceil(math.log10(maximum)),
                logarithmic=True,
            )
        step = choose_tick_step(maximum)
        return cls(0.0, max(step, math.ceil(maximum / step) * step), logarithmic=False)

    def map_to_x(self, value: float) -> float:
        """Map a value to the distance from the left edge of the chart, in px."""
        if self.logarithmic:
            fraction = math.log10(value / self.low) / math.log10(self.high / self.low)
        else:
            fraction = (value - self.low) / (self.high - self.low)
        return round(LEFT_MARGIN + fraction * (CHART_WIDTH - RIGHT_MARGIN - LEFT_MARGIN), 1)

    def list_ticks(self) -> list[float]:
        """List the values at which the scale has a tick."""
        if self.logarithmic:
            decades = round(math.log10(self.high / self.low))
            return [self.low * 10**power for power in range(decades + 1)]
        step = choose_tick_step(self.high)
        return [step * index for index in range(round(self.high / step) + 1)]


def choose_tick_step(maximum: float) -> float:
    """Choose 1, 2 or 5 times a power of ten as the difference between two ticks.

    A scale from 0 to `maximum` then has four to ten steps.
    """
    if maximum <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(maximum / 4))
    return max(factor * power for factor in (1, 2, 5) if factor * power <= maximum / 4)
