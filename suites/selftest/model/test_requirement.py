"""Tests of the requirements table: complete, in order, and strict parsing."""

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

# Number of requirements per group. Ids are stable: add new ids at the end, never remove an id.
REQUIREMENTS_PER_GROUP = {
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


def test_table_is_complete_and_ordered() -> None:
    """
    The requirements table lists the ids group after group, numbered without a gap.

    Expected: for example, the group CAP has the ids LM-CAP-01, LM-CAP-02 and LM-CAP-03.
    """
    expected = [
        f"LM-{group}-{number:02}"
        for group, count in REQUIREMENTS_PER_GROUP.items()
        for number in range(1, count + 1)
    ]

    assert list(load_requirements()) == expected


def test_requirement_texts_are_unique() -> None:
    """No two requirements have the same title, statement or expected result."""
    requirements = load_requirements().values()

    for field in ("title", "statement", "expected"):
        assert len({getattr(requirement, field) for requirement in requirements}) == len(
            requirements
        )


def test_chapters_are_contiguous_and_own_folders() -> None:
    """
    The requirements of a chapter follow each other in the requirements table.

    Expected: no two chapters have a folder of tests in common.
    """
    requirements = load_requirements().values()
    chapters = load_chapters()

    assert [
        slug for slug, _ in groupby(requirement.chapter for requirement in requirements)
    ] == list(chapters)
    folders = [folder for chapter in chapters.values() for folder in chapter.suites]
    assert sorted(set(folders)) == sorted(folders)


def test_enforcers_come_from_the_table() -> None:
    """
    The key `enforced_by` in the requirements table names the parts that enforce a requirement.

    Expected: for example, the guard (the check that refuses unsafe migrations) and the report
    enforce LM-RES-10. The stack (libvirt and QEMU) enforces LM-CAP-01.
    """
    enforcers_by_id = {
        id_: requirement.enforcers for id_, requirement in load_requirements().items()
    }

    assert enforcers_by_id["LM-RES-09"] == {Enforcer.GUARD, Enforcer.HYPERVISOR}
    assert enforcers_by_id["LM-RES-10"] == {Enforcer.GUARD, Enforcer.REPORT}
    assert enforcers_by_id["LM-CAP-01"] == {Enforcer.HYPERVISOR}


def test_has_tests_of_requirement_overrides_chapter(tmp_path: Path) -> None:
    """The key `has_tests` of a requirement overrides the key of its chapter."""
    row = "chapter: one, title: abc, statement: abc, expected: abc, enforced_by: [H]"
    file = tmp_path / "a.yml"
    file.write_text(
        "chapters: {one: {title: One, suites: [one], has_tests: true}}\n"
        f"requirements:\n  LM-AAA-01: {{{row}}}\n  LM-AAA-02: {{{row}, has_tests: false}}\n"
    )

    requirements = load_requirements(file)

    assert requirements["LM-AAA-01"].has_tests
    assert not requirements["LM-AAA-02"].has_tests


@pytest.mark.parametrize(
    ("id_", "hint"),
    [("LM-SHR-06", "LM-SHR-0"), ("lm-cap-01", "LM-CAP-01"), ("quux", "requirements.yml")],
)
def test_unknown_id_suggests_similar_ids(id_: str, hint: str) -> None:
    """The error for an unknown requirement id suggests similar ids.

    If no id is similar, the error names the file that contains all ids: requirements.yml.
    """
    with pytest.raises(UsageError, match=hint):
        find_requirement(id_, load_requirements())


def test_known_id_is_found() -> None:
    """`find_requirement` returns the requirement with the given id."""
    assert find_requirement("LM-SHR-02", load_requirements()).chapter == "shared-storage"


def test_problems_of_a_requirements_table(tmp_path: Path) -> None:
    """
    The error for an invalid requirements table lists all problems of the table.

    Preconditions: two tables are loaded separately. The first table has three problems: a malformed
    id, an unknown value of `enforced_by` and an unknown key. The second table has two problems: a
    requirement with an unknown chapter, and a chapter without requirements.
    Expected: the error for the first table lists three problems, and the error for the second table
    lists two problems.
    """
    row = "{chapter: one, title: abc, statement: abc, expected: abc, enforced_by: [H]}"
    chapters = "chapters: {one: {title: One, suites: [one], has_tests: true}}\n"
    file = tmp_path / "a.yml"
    file.write_text(f"{chapters}requirements:\n  LM-1: {row}\n  LM-AAA-01: {row[:-3]}X], z: 1}}\n")
    with pytest.raises(InventoryError) as caught:
        load_requirements(file)
    assert [problem.path for problem in caught.value.problems] == [
        "requirements.LM-1",
        "requirements.LM-AAA-01.enforced_by[0]",
        "requirements.LM-AAA-01.z",
    ]

    file = tmp_path / "b.yml"
    file.write_text(f"{chapters}requirements:\n  LM-AAA-01: {row.replace('one', 'two')}\n")
    with pytest.raises(InventoryError, match="no chapter 'two'") as caught:
        load_requirements(file)
    assert len(caught.value.problems) == 2
