"""The pairwise matrix contains every pair of values from two factors."""

import itertools

import pytest

from fixtures.plugins.matrix import (
    FACTORS,
    Combination,
    build_pairwise_rows,
    build_parameters,
    find_rows_with_new_values,
    list_value_pairs,
    select_rows,
)

pytestmark = pytest.mark.selftest


def test_pairwise_rows_cover_every_pair_of_values() -> None:
    """Each value of each factor shares a row with each value of every other factor."""
    levels = list(FACTORS.values())
    expected = {
        value_pair for row in itertools.product(*levels) for value_pair in list_value_pairs(row)
    }

    assert {
        value_pair for row in build_pairwise_rows(levels) for value_pair in list_value_pairs(row)
    } == expected


def test_pairwise_is_much_smaller_than_full() -> None:
    """The full matrix has 72 rows; the pairwise matrix has at most 12 rows."""
    levels = list(FACTORS.values())

    assert len(select_rows(levels, "full")) == 72
    assert len(select_rows(levels, "pairwise")) <= 12


def test_matrix_option_selects_full_or_pairwise() -> None:
    """`--matrix full` selects every combination of values once; `pairwise` selects fewer rows.

    A row is a combination of values. `build_pairwise_rows` builds the rows for `pairwise`.
    """
    levels = [(0, 1, 9), ("text", "zero"), (1, 2, 4)]

    assert sorted(select_rows(levels, "full")) == sorted(itertools.product(*levels))
    assert select_rows(levels, "pairwise") == build_pairwise_rows(levels)
    assert len(select_rows(levels, "pairwise")) < 18


def test_combination_ids_are_readable_and_unique() -> None:
    """An id consists of the values of the row, and no two rows have the same id."""
    ids = [Combination(*row).id for row in select_rows(list(FACTORS.values()), "full")]

    assert "nbd-qcow2-idle-direct-persistent" in ids
    assert len(set(ids)) == len(ids)


def test_rows_without_slow_marker_cover_every_value() -> None:
    """The matrix rows without the marker `slow` together contain every value of every factor.

    At least one row of the matrix has the marker.
    """
    levels = list(FACTORS.values())
    rows = build_pairwise_rows(levels)
    fast_rows = find_rows_with_new_values(rows)

    assert {
        (factor_index, str(value)) for row in fast_rows for factor_index, value in enumerate(row)
    } == {
        (factor_index, str(value)) for factor_index, values in enumerate(levels) for value in values
    }
    assert len(fast_rows) < len(rows)
    assert len(build_parameters(Combination, rows)) == len(rows)
