"""Geometry of strip charts: figures -> points on a line, and the ticks under them. Pure."""

import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from migqual.model.record import MigrationRecord, TestRecord

LEFT, RIGHT, WIDTH = 250.0, 96.0, 960.0
ROW, TOP, BOTTOM = 34.0, 6.0, 34.0
SPREAD = 9.0  # px that points of one row are moved up or down, so that they do not hide each other
WIDE = 40  # a range of more than 1 to this is drawn on a logarithmic scale


@dataclass(frozen=True)
class Mark:
    """One migration. `words` is what it says when pointed at."""

    x: float
    y: float
    words: str


@dataclass(frozen=True)
class Row:
    """All migrations of one pair by one clock."""

    label: str
    y: float
    marks: tuple[Mark, ...]
    median: float
    median_x: float


@dataclass(frozen=True)
class Chart:
    """A strip chart: one row of points each, all on one scale. Lengths in px, values in `unit`."""

    title: str
    note: str
    unit: str
    rows: tuple[Row, ...]
    ticks: tuple[tuple[float, str], ...]
    height: float
    logarithmic: bool
    width: float = WIDTH
    left: float = LEFT
    right: float = WIDTH - RIGHT


@dataclass(frozen=True)
class Subject:
    """What one chart shows: labelled metrics of one unit."""

    title: str
    note: str
    unit: str
    metrics: Mapping[str, str]


SUBJECTS = (
    Subject(
        "Interruption, by three clocks",
        "downtime as QEMU and as libvirt report it, and the longest gap that a client saw",
        "ms",
        {
            "downtime_qemu_ms": "downtime, QEMU",
            "downtime_libvirt_ms": "downtime, libvirt",
            "gap_max_ms": "longest gap",
        },
    ),
    Subject("Throughput", "bytes sent per time", "MiB/s", {"throughput_avg_mib_s": "average"}),
    Subject("Duration", "start to completed", "ms", {"total_time_ms": "total time"}),
)


# of the tests that compare ways of sending a guest, one row for each way
ENCRYPTION = "LM-TLS-05"
PRICES = (
    Subject(
        "Price of encryption: throughput",
        "the same guest, sent in each way in turn",
        "MiB/s",
        {"throughput_avg_mib_s": "average"},
    ),
    Subject(
        "Price of encryption: duration and downtime",
        "the same guest, sent in each way in turn",
        "ms",
        {"total_time_ms": "total time", "downtime_libvirt_ms": "downtime, libvirt"},
    ),
)

# what a migration is told apart by: words for a row, or None for one that is left out
Kind = Callable[[TestRecord, MigrationRecord], str | None]


def charts(records: Sequence[TestRecord]) -> tuple[Chart, ...]:
    """The charts for which `records` hold figures of completed migrations."""
    drawn = [chart(subject, records, _pair) for subject in SUBJECTS]
    drawn += [chart(subject, records, _sending) for subject in PRICES]
    return tuple(one for one in drawn if one)


def chart(subject: Subject, records: Sequence[TestRecord], kind: Kind) -> Chart | None:
    """One chart; None where nothing was measured."""
    series = {
        f"{label} · {row}": figures
        for metric, label in subject.metrics.items()
        for row, figures in _by(kind, metric, records).items()
    }
    values = [value for figures in series.values() for value, _ in figures]
    if not values:
        return None
    scale = Scale.over(values)
    rows = tuple(
        _row(label, TOP + ROW * (number + 0.5), figures, scale, subject.unit)
        for number, (label, figures) in enumerate(series.items())
    )
    return Chart(
        title=subject.title,
        note=subject.note,
        unit=subject.unit,
        rows=rows,
        ticks=tuple((scale.x(tick), f"{tick:g}") for tick in scale.ticks()),
        height=TOP + ROW * len(rows) + BOTTOM,
        logarithmic=scale.logarithmic,
    )


def _by(
    kind: Kind, metric: str, records: Sequence[TestRecord]
) -> dict[str, list[tuple[float, str]]]:
    found: dict[str, list[tuple[float, str]]] = {}
    for record in records:
        for migration in record.migrations:
            value = migration.metrics.get(metric)
            row = kind(record, migration)
            if value is not None and row is not None and migration.outcome == "completed":
                found.setdefault(row, []).append((value, record.id))
    return dict(sorted(found.items()))


def _pair(record: TestRecord, _migration: MigrationRecord) -> str:
    return f"{record.pair.source} → {record.pair.destination}" if record.pair else "no pair"


def _sending(record: TestRecord, migration: MigrationRecord) -> str | None:
    """How the guest was sent, in tests that compare ways of sending it."""
    if ENCRYPTION not in record.requirements:
        return None
    channels = migration.plan.get("channels")
    way = "TLS" if migration.plan.get("tls") else "plain"
    return f"{way}, {channels} channels" if channels else way


def _row(
    label: str, y: float, figures: Sequence[tuple[float, str]], scale: "Scale", unit: str
) -> Row:
    median = statistics.median(value for value, _ in figures)
    marks = tuple(
        Mark(scale.x(value), y + _shift(number), f"{value:g} {unit}: {words}")
        for number, (value, words) in enumerate(figures)
    )
    return Row(label, y, marks, median, scale.x(median))


def _shift(number: int) -> float:
    """Spread evenly and the same way in every run: multiples of the golden ratio."""
    return ((number * 0.618034) % 1.0 - 0.5) * 2 * SPREAD


@dataclass(frozen=True)
class Scale:
    """Values to px. Linear from 0, or logarithmic between powers of ten."""

    low: float
    high: float
    logarithmic: bool

    @classmethod
    def over(cls, values: Sequence[float]) -> "Scale":
        least, most = min(values), max(values)
        if least > 0 and most / least > WIDE:
            return cls(10 ** math.floor(math.log10(least)), 10 ** math.ceil(math.log10(most)), True)  # noqa: FBT003 - named by the field
        step = nice_step(most)
        return cls(0.0, max(step, math.ceil(most / step) * step), False)  # noqa: FBT003 - named by the field

    def x(self, value: float) -> float:
        if self.logarithmic:
            part = math.log10(value / self.low) / math.log10(self.high / self.low)
        else:
            part = (value - self.low) / (self.high - self.low)
        return round(LEFT + part * (WIDTH - RIGHT - LEFT), 1)

    def ticks(self) -> list[float]:
        if self.logarithmic:
            decades = round(math.log10(self.high / self.low))
            return [self.low * 10**power for power in range(decades + 1)]
        step = nice_step(self.high)
        return [step * number for number in range(round(self.high / step) + 1)]


def nice_step(most: float) -> float:
    """A step of 1, 2 or 5 times a power of ten that makes four to ten steps of `most`."""
    if most <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(most / 4))
    return max(factor * power for factor in (1, 2, 5) if factor * power <= most / 4)
