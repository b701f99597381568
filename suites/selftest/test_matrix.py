"""Pairwise rows hold every meeting of two values."""

import itertools

import pytest

from fixtures.plugins.matrix import (
    FACTORS,
    Combination,
    as_parameters,
    chosen,
    meetings,
    pairwise,
    showing,
)

pytestmark = pytest.mark.selftest


def test_every_two_values_meet() -> None:
    """Each value of each factor stands in a row with each value of every other factor."""
    levels = list(FACTORS.values())
    wanted = {meeting for row in itertools.product(*levels) for meeting in meetings(row)}

    assert {meeting for row in pairwise(levels) for meeting in meetings(row)} == wanted


def test_pairwise_is_much_smaller_than_full() -> None:
    """The full matrix is 72 rows; pairwise at most a sixth of it."""
    levels = list(FACTORS.values())

    assert len(chosen(levels, "full")) == 72
    assert len(chosen(levels, "pairwise")) <= 12


def test_any_matrix_is_full_on_demand() -> None:
    """Every combination once where `full` asks for it; otherwise every two values."""
    levels = [(0, 1, 9), ("text", "zero"), (1, 2, 4)]

    assert sorted(chosen(levels, "full")) == sorted(itertools.product(*levels))
    assert chosen(levels, "pairwise") == pairwise(levels)
    assert len(chosen(levels, "pairwise")) < 18


def test_ids_are_readable_and_distinct() -> None:
    """An id names the choices."""
    ids = [Combination(*row).id for row in chosen(list(FACTORS.values()), "full")]

    assert "nbd-qcow2-idle-direct-persistent" in ids
    assert len(set(ids)) == len(ids)


def test_short_rows_show_every_value() -> None:
    """The others are `long`, and nothing of a factor is in them alone."""
    levels = list(FACTORS.values())
    rows = pairwise(levels)
    short = showing(rows)

    assert {(at, str(value)) for row in short for at, value in enumerate(row)} == {
        (at, str(value)) for at, values in enumerate(levels) for value in values
    }
    assert len(short) < len(rows)
    assert len(as_parameters(Combination, rows)) == len(rows)
