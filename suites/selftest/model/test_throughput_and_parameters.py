"""Throughput over windows of seconds, and documented parameters beside the current values."""

import json

import pytest

from migqual.commands import params
from migqual.model import throughput
from migqual.model.documented_parameters import (
    DOCUMENTED_DEFAULTS,
    compare_parameters,
    convert_to_mbit_s,
)
from migqual.model.job_stats import JobStats
from migqual.model.outcome import JobSample
from migqual.units import MIB

pytestmark = pytest.mark.selftest

CURRENT_PARAMETERS = {
    "compress-level": 9,
    "compress-threads": 8,
    "max-bandwidth": 500 * MIB,
    "zzz": True,
}


def make_samples(*rates_mib_s: int, took_s: float = 0.01) -> list[JobSample]:
    """Make job samples of a migration, ten samples per second.

    Args:
        rates_mib_s: Throughput in MiB/s, one value for each second of the migration.
        took_s: Time from the query of a sample to libvirt's reply, in s.
    """
    samples, sent_bytes = [JobSample(0.1, JobStats({"memory_processed": MIB}), took_s)], MIB
    for index, rate_mib_s in enumerate(value for value in rates_mib_s for _ in range(10)):
        sent_bytes += rate_mib_s * MIB // 10
        samples.append(
            JobSample(0.1 + (index + 1) / 10, JobStats({"memory_processed": sent_bytes}), took_s)
        )
    return samples


def test_steady_throughput() -> None:
    rates = throughput.compute_window_rates(make_samples(16, 16, 16))

    assert len(rates) == 11
    assert rates == pytest.approx([16.0] * 11)
    assert throughput.select_rates_over_limit(16, 10, rates) == []


def test_two_seconds_over_the_limit_are_detected() -> None:
    rates = throughput.compute_window_rates(make_samples(16, 16, 24, 24, 16, 16))

    assert 23 < max(rates) < 24.1
    assert throughput.select_rates_over_limit(16, 10, rates)


def test_burst_of_100_ms_is_not_over_the_limit() -> None:
    burst_samples = make_samples(16, 16, 16, 16)
    burst_samples[15] = JobSample(
        burst_samples[15].at_s, JobStats({"memory_processed": MIB * 26}), 0.01
    )

    assert (
        throughput.select_rates_over_limit(16, 10, throughput.compute_window_rates(burst_samples))
        == []
    )


def test_throughput_of_part_of_a_migration() -> None:
    samples = make_samples(8, 8, 8, 24, 24, 24)

    assert max(throughput.compute_window_rates(samples, until_s=3.0)) == pytest.approx(8)
    assert min(throughput.compute_window_rates(samples, since_s=3.2)) == pytest.approx(24)


def test_unused_bandwidth_limit_is_detected() -> None:
    """
    The median rate decides whether a migration used its bandwidth limit.

    Expected: a single fast time window does not hide slow windows, and a single slow window does
    not hide fast windows.
    """
    slow_rates = throughput.compute_window_rates(make_samples(2, 2, 2, 2, 16, 16, 2, 2, 2, 2))
    fast_rates = throughput.compute_window_rates(
        make_samples(16, 16, 16, 16, 16, 2, 16, 16, 16, 16, 16)
    )

    assert throughput.compute_median_rate(slow_rates) == pytest.approx(2, abs=0.5)
    assert throughput.is_limit_unused(16, slow_rates)
    assert throughput.compute_median_rate(fast_rates) == pytest.approx(16)
    assert not throughput.is_limit_unused(16, fast_rates)
    assert throughput.is_limit_unused(32, fast_rates)


@pytest.mark.parametrize(
    ("link_mib", "min_share", "has_mismatch"),
    [
        (100, 0.98, False),
        (105, 0.98, False),
        (110, 0.98, True),
        (3, 0.98, True),
        (50, 0.0, False),
        (110, 0.0, True),
    ],
    ids=[
        "same",
        "headers",
        "other-traffic",
        "other-link",
        "compressed",
        "compressed-and-other-traffic",
    ],
)
def test_byte_mismatch_between_link_and_job(
    link_mib: int,
    min_share: float,
    has_mismatch: bool,  # noqa: FBT001
) -> None:
    """
    The bytes on the link must fit the bytes that the migration job reports.

    Preconditions: the migration job reports 100 MiB of sent data. The kernel counts `link_mib` MiB
    on the link.
    Expected: 105 MiB on the link is no mismatch, because the kernel also counts headers. 110 MiB is
    a mismatch. Without compression, 3 MiB is a mismatch, because at least 98 % of the data must
    cross the link (`min_share` is 0.98). With compression, `min_share` is 0, and 50 MiB is no
    mismatch.
    """
    assert (
        bool(throughput.describe_byte_mismatch(link_mib * MIB, 100 * MIB, min_share=min_share))
        is has_mismatch
    )


@pytest.mark.parametrize(
    "samples",
    [
        make_samples(16),
        make_samples(16, 16, 16, took_s=2.0),
        [JobSample(at_s, JobStats({})) for at_s in range(9)],
    ],
    ids=["short", "slow-replies", "no-statistics"],
)
def test_too_few_samples_give_no_rate(samples: list[JobSample]) -> None:
    """
    If there are too few usable job samples, no throughput is computed.

    Preconditions: the samples cover only 1 s (`short`), libvirt replied too slowly
    (`slow-replies`), or the samples have no statistics (`no-statistics`).
    Expected: the result is empty.
    """
    assert throughput.compute_window_rates(samples) == ()


def test_every_documented_parameter_has_a_row() -> None:
    rows_by_name = {row.name: row for row in compare_parameters(CURRENT_PARAMETERS)}

    assert rows_by_name.keys() == DOCUMENTED_DEFAULTS.keys() | CURRENT_PARAMETERS.keys()
    assert rows_by_name["compress-method"].is_missing
    assert rows_by_name["compress-level"].differs_from_default
    assert not rows_by_name["compress-threads"].differs_from_default
    assert not rows_by_name["zzz"].differs_from_default


def test_bandwidth_conversion_to_mbit_s() -> None:
    """500 MiB/s (unit of libvirt) are 4194.3 Mbit/s (unit of openEuler's documentation)."""
    assert convert_to_mbit_s(500) == pytest.approx(4194.304)


def test_parameter_table_shows_value_default_and_difference() -> None:
    lines = {
        line.split()[0]: line.split()[1:]
        for line in params.render_parameters_table(list(compare_parameters(CURRENT_PARAMETERS)))
    }

    assert lines["compress-level"] == ["9", "1", "differs"]
    assert lines["compress-threads"] == ["8", "8"]
    assert lines["compress-method"] == ["missing", '"zlib"']
    assert lines["max-bandwidth"] == ["524288000", "(500", "MiB/s,", "4194", "Mbit/s)"]


def test_parameter_json_has_null_for_missing_parameters() -> None:
    rows_by_name = {
        row["name"]: row
        for row in json.loads(
            params.render_parameters_json(list(compare_parameters(CURRENT_PARAMETERS)))
        )
    }

    assert rows_by_name["compress-method"] == {
        "name": "compress-method",
        "value": None,
        "default": "zlib",
    }
    assert rows_by_name["zzz"]["value"] is True
