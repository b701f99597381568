"""Tests of the agreement between the requirements table and the suites.

Each requirement with `has_tests` has a test, and each test of a chapter has a requirement.
"""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from migqual import paths
from migqual.model.requirement import load_chapters, load_requirements

pytestmark = pytest.mark.selftest

SUITES_FOLDER = paths.ROOT / "suites"
FOLDERS_WITHOUT_CHAPTER = {"selftest", "observer_checks", "integration", "support"}


def iterate_chapter_tests() -> Iterator[tuple[Path, ast.FunctionDef]]:
    """Yield the file and the function of every chapter test."""
    for file in sorted(SUITES_FOLDER.rglob("test_*.py")):
        if file.relative_to(SUITES_FOLDER).parts[0] in FOLDERS_WITHOUT_CHAPTER:
            continue
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
                yield file, node


def collect_requirement_ids(function: ast.FunctionDef) -> set[str]:
    """Collect the requirement ids in the decorators of a test: on the test or on a parameter."""
    return {
        node.value
        for decorator in function.decorator_list
        for node in ast.walk(decorator)
        if isinstance(node, ast.Constant)
        and isinstance(node.value, str)
        and node.value.startswith("LM-")
    }


def collect_covered_ids() -> set[str]:
    return {
        requirement_id
        for _, function in iterate_chapter_tests()
        for requirement_id in collect_requirement_ids(function)
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
    Each requirement with a test has `has_tests` in the table: then profiles may require the id.
    """
    requirements = load_requirements()

    assert {id_ for id_ in collect_covered_ids() if not requirements[id_].has_tests} == set()


def test_every_chapter_test_names_a_requirement() -> None:
    """Each chapter test names a requirement: otherwise the result would count nowhere."""
    all_tests = [f"{file.name}: {function.name}" for file, function in iterate_chapter_tests()]
    tests_with_requirement = [
        f"{file.name}: {function.name}"
        for file, function in iterate_chapter_tests()
        if collect_requirement_ids(function)
    ]

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
