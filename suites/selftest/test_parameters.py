"""Throughput over stretches of seconds; documented parameters beside those in force."""

import json

import pytest

from migqual.commands import params
from migqual.model import throughput
from migqual.model.documented import DEFAULTS, MIB, mbit_s, rows
from migqual.model.outcome import JobSample

pytestmark = pytest.mark.selftest

IN_FORCE = {"compress-level": 9, "compress-threads": 8, "max-bandwidth": 500 * MIB, "zzz": True}


def samples(*rates: int, took_s: float = 0.01) -> list[JobSample]:
    """Ten samples a second; one rate in MiB/s for each second."""
    found, sent = [JobSample(0.1, {"memory_processed": MIB}, took_s)], MIB
    for at, rate in enumerate(each for each in rates for _ in range(10)):
        sent += rate * MIB // 10
        found.append(JobSample(0.1 + (at + 1) / 10, {"memory_processed": sent}, took_s))
    return found


def test_steady_throughput_is_what_it_is() -> None:
    found = throughput.rates(samples(16, 16, 16))

    assert len(found) == 11
    assert found == pytest.approx([16.0] * 11)
    assert throughput.over(16, 10, found) == []


def test_two_seconds_over_the_limit_are_seen() -> None:
    found = throughput.rates(samples(16, 16, 24, 24, 16, 16))

    assert 23 < max(found) < 24.1
    assert throughput.over(16, 10, found)


def test_a_burst_of_a_tenth_of_a_second_is_none() -> None:
    burst = samples(16, 16, 16, 16)
    burst[15] = JobSample(burst[15].at_s, {"memory_processed": MIB * 26}, 0.01)

    assert throughput.over(16, 10, throughput.rates(burst)) == []


def test_part_of_a_migration_can_be_asked_for() -> None:
    changed = samples(8, 8, 8, 24, 24, 24)

    assert max(throughput.rates(changed, until_s=3.0)) == pytest.approx(8)
    assert min(throughput.rates(changed, since_s=3.2)) == pytest.approx(24)


def test_limit_that_is_not_made_use_of_is_seen() -> None:
    """One fast stretch does not make up for slow ones, nor one slow stretch undo fast ones."""
    slow = throughput.rates(samples(2, 2, 2, 2, 16, 16, 2, 2, 2, 2))
    fast = throughput.rates(samples(16, 16, 16, 16, 16, 2, 16, 16, 16, 16, 16))

    assert throughput.typical(slow) == pytest.approx(2, abs=0.5)
    assert throughput.unused(16, slow)
    assert throughput.typical(fast) == pytest.approx(16)
    assert not throughput.unused(16, fast)
    assert throughput.unused(32, fast)


@pytest.mark.parametrize(
    ("on_link", "least", "doubted"),
    [
        (100, 0.98, False),
        (105, 0.98, False),
        (110, 0.98, True),
        (3, 0.98, True),
        (50, 0.0, False),
        (110, 0.0, True),
    ],
    ids=["same", "headers", "others", "elsewhere", "compressed", "compressed-and-others"],
)
def test_bytes_of_others_are_doubted(on_link: int, least: float, doubted: bool) -> None:  # noqa: FBT001
    """What the job tells must be most of what the link carried, and have crossed that link."""
    assert bool(throughput.doubt(on_link * MIB, 100 * MIB, least=least)) is doubted


@pytest.mark.parametrize(
    "found",
    [samples(16), samples(16, 16, 16, took_s=2.0), [JobSample(at, {}) for at in range(9)]],
    ids=["short", "slow-answers", "no-figures"],
)
def test_too_little_gives_nothing(found: list[JobSample]) -> None:
    """No stretch of seconds, answers that came too late, or no figures: no rate is invented."""
    assert throughput.rates(found) == ()


def test_every_documented_parameter_has_a_row() -> None:
    found = {row.name: row for row in rows(IN_FORCE)}

    assert found.keys() == DEFAULTS.keys() | IN_FORCE.keys()
    assert found["compress-method"].lacking
    assert found["compress-level"].differs
    assert not found["compress-threads"].differs
    assert not found["zzz"].differs


def test_unit_of_the_page_is_not_that_of_libvirt() -> None:
    """500 MiB/s are 4194 Mbit/s."""
    assert mbit_s(500) == pytest.approx(4194.304)


def test_table_shows_value_default_and_difference() -> None:
    lines = {line.split()[0]: line.split()[1:] for line in params.as_table(list(rows(IN_FORCE)))}

    assert lines["compress-level"] == ["9", "1", "differs"]
    assert lines["compress-threads"] == ["8", "8"]
    assert lines["compress-method"] == ["lacking", '"zlib"']
    assert lines["max-bandwidth"] == ["524288000", "(500", "MiB/s,", "4194", "Mbit/s)"]


def test_json_has_null_for_what_is_lacking() -> None:
    told = {row["name"]: row for row in json.loads(params.as_json(list(rows(IN_FORCE))))}

    assert told["compress-method"] == {"name": "compress-method", "value": None, "default": "zlib"}
    assert told["zzz"]["value"] is True
