"""The requirements table: complete, ordered, and strict about what it is given."""

from itertools import groupby
from pathlib import Path

import pytest

from migqual.errors import InventoryError, UsageError
from migqual.model.requirement import (
    Enforcer,
    find_requirement,
    load_chapters,
    load_requirements,
)

pytestmark = pytest.mark.selftest

# How many rows each group has. Ids are stable: a row may be added at an end, none may go.
ROWS = {
    "CAP": 3,
    "SCN": 5,
    "RES": 11,
    "NSS": 6,
    "PRE": 5,
    "DRT": 2,
    "PAR": 9,
    "SHR": 5,
    "LOC": 3,
    "TLS": 6,
}


def test_every_row_is_there_in_order() -> None:
    """Numbered without a hole, group after group."""
    expected = [f"LM-{group}-{n:02}" for group, most in ROWS.items() for n in range(1, most + 1)]

    assert list(load_requirements()) == expected


def test_rows_say_something_of_their_own() -> None:
    """No two rows share a title, a statement or what is expected."""
    rows = load_requirements().values()

    for words in ("title", "statement", "expected"):
        assert len({getattr(row, words) for row in rows}) == len(rows)


def test_chapters_hold_their_rows_together() -> None:
    """A chapter is one group of ids; it has folders of its own."""
    rows = load_requirements().values()
    chapters = load_chapters()

    assert [slug for slug, _ in groupby(row.chapter for row in rows)] == list(chapters)
    folders = [folder for chapter in chapters.values() for folder in chapter.suites]
    assert sorted(set(folders)) == sorted(folders)


def test_rows_that_the_guard_keeps() -> None:
    """Enforcers come from the table."""
    by = {id_: row.by for id_, row in load_requirements().items()}

    assert by["LM-RES-09"] == {Enforcer.GUARD, Enforcer.HYPERVISOR}
    assert by["LM-RES-10"] == {Enforcer.GUARD, Enforcer.REPORT}
    assert by["LM-CAP-01"] == {Enforcer.HYPERVISOR}


def test_row_may_be_ahead_of_or_behind_its_chapter() -> None:
    """Some rows of a built chapter still wait for their tests."""
    rows = load_requirements()

    assert rows["LM-CAP-01"].built
    assert not rows["LM-RES-01"].built
    assert not rows["LM-SCN-01"].built


@pytest.mark.parametrize(
    ("id_", "hint"),
    [("LM-SHR-06", "LM-SHR-0"), ("lm-cap-01", "LM-CAP-01"), ("quux", "requirements.yml")],
)
def test_unknown_id_brings_near_ones(id_: str, hint: str) -> None:
    """Or says where all of them are."""
    with pytest.raises(UsageError, match=hint):
        find_requirement(id_, load_requirements())


def test_known_id_is_found() -> None:
    """By itself."""
    assert find_requirement("LM-SHR-02", load_requirements()).chapter == "shared-storage"


def test_faults_of_a_table(tmp_path: Path) -> None:
    """Malformed ids, unknown enforcers and keys, at once; then strays among rows and chapters."""
    row = "{chapter: one, title: abc, statement: abc, expected: abc, by: [H]}"
    chapters = "chapters: {one: {title: One, suites: [one], built: true}}\n"
    file = tmp_path / "a.yml"
    file.write_text(f"{chapters}requirements:\n  LM-1: {row}\n  LM-AAA-01: {row[:-3]}X], z: 1}}\n")
    with pytest.raises(InventoryError) as caught:
        load_requirements(file)
    assert [fault.path for fault in caught.value.faults] == [
        "requirements.LM-1",
        "requirements.LM-AAA-01.by[0]",
        "requirements.LM-AAA-01.z",
    ]

    file = tmp_path / "b.yml"
    file.write_text(f"{chapters}requirements:\n  LM-AAA-01: {row.replace('one', 'two')}\n")
    with pytest.raises(InventoryError, match="no chapter 'two'") as caught:
        load_requirements(file)
    assert len(caught.value.faults) == 2
