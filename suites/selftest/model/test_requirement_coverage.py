"""Tests of the agreement between the requirements table and the suites.

Each requirement with `has_tests` has a test, and each test of a chapter has a requirement.
"""

import ast

import pytest

from fixtures.plugins.suite_catalogue import (
    FOLDERS_WITHOUT_CHAPTER,
    SUITES_FOLDER,
    iterate_chapter_tests,
    list_suite_tests,
)
from migqual.model.requirement import load_chapters, load_requirements

pytestmark = pytest.mark.selftest


def collect_covered_ids() -> set[str]:
    return {
        requirement_id for test in list_suite_tests() for requirement_id in test.requirement_ids
    }


def test_every_requirement_with_has_tests_has_a_test() -> None:
    """Each requirement with `has_tests` in the table has a test."""
    expected_ids = {
        id_ for id_, requirement in load_requirements().items() if requirement.has_tests
    }

    assert expected_ids
    assert expected_ids - collect_covered_ids() == set()


def test_no_test_of_requirement_without_has_tests() -> None:
    """
    Each requirement with a test has `has_tests: true` in the requirements table.

    The profile `lab` requires only requirements that have `has_tests: true`.
    """
    requirements = load_requirements()

    assert {id_ for id_ in collect_covered_ids() if not requirements[id_].has_tests} == set()


def test_every_chapter_test_names_a_requirement() -> None:
    """Each chapter test names a requirement: otherwise its result would have no effect."""
    all_tests = [test.id for test in list_suite_tests()]
    tests_with_requirement = [test.id for test in list_suite_tests() if test.requirement_ids]

    assert all_tests == tests_with_requirement


def test_every_chapter_test_docstring_has_expected_part() -> None:
    """
    Each chapter test has a docstring with an `Expected:` part.

    Reports print the docstring: the claim, the preconditions and the expected result.
    """
    tests_without_expected = [
        f"{file.name}: {function.name}"
        for file, function in iterate_chapter_tests()
        if "Expected:" not in (ast.get_docstring(function) or "")
    ]

    assert tests_without_expected == []


def test_every_suite_folder_belongs_to_a_chapter() -> None:
    """Every folder of tests below suites/ belongs to a chapter, or tests the project."""
    test_folders = {path.name for path in SUITES_FOLDER.iterdir() if any(path.glob("test_*.py"))}

    chapter_folders = {folder for chapter in load_chapters().values() for folder in chapter.suites}
    assert test_folders - FOLDERS_WITHOUT_CHAPTER <= chapter_folders
