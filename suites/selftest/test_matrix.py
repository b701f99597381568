"""Pairwise rows hold every meeting of two values."""

import itertools

import pytest

from fixtures.plugins.matrix import FACTORS, chosen, combinations, meetings, pairwise

pytestmark = pytest.mark.selftest


def test_every_two_values_meet() -> None:
    """Each value of each factor stands in a row with each value of every other factor."""
    levels = list(FACTORS.values())
    wanted = {meeting for row in itertools.product(*levels) for meeting in meetings(row)}

    assert {meeting for row in pairwise(levels) for meeting in meetings(row)} == wanted


def test_pairwise_is_much_smaller_than_full() -> None:
    """The full matrix is 72 rows; pairwise at most a sixth of it."""
    assert len(combinations("full")) == 72
    assert len(combinations("pairwise")) <= 12


def test_any_matrix_is_full_on_demand() -> None:
    """Every combination once where `full` asks for it; otherwise every two values."""
    levels = [(0, 1, 9), ("text", "zero"), (1, 2, 4)]

    assert sorted(chosen(levels, "full")) == sorted(itertools.product(*levels))
    assert chosen(levels, "pairwise") == pairwise(levels)
    assert len(chosen(levels, "pairwise")) < 18


def test_ids_are_readable_and_distinct() -> None:
    """An id names the choices."""
    ids = [one.id for one in combinations("full")]

    assert "nbd-qcow2-idle-direct-persistent" in ids
    assert len(set(ids)) == len(ids)
