"""The table and the suites agree: no built requirement without a test, no test without one."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from migqual import places
from migqual.model.requirement import load_chapters, load_requirements

pytestmark = pytest.mark.selftest

SUITES = places.ROOT / "suites"
ELSEWHERE = {"selftest", "oracles"}


def functions() -> Iterator[tuple[Path, ast.FunctionDef]]:
    """Every test of the chapters."""
    for file in sorted(SUITES.rglob("test_*.py")):
        if file.relative_to(SUITES).parts[0] in ELSEWHERE:
            continue
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
                yield file, node


def ids_of(function: ast.FunctionDef) -> set[str]:
    """Requirement ids anywhere in its decorators: on the test, or on one of its parameters."""
    return {
        node.value
        for decorator in function.decorator_list
        for node in ast.walk(decorator)
        if isinstance(node, ast.Constant)
        and isinstance(node.value, str)
        and node.value.startswith("LM-")
    }


def covered() -> set[str]:
    return {found for _, function in functions() for found in ids_of(function)}


def test_every_built_requirement_has_a_test() -> None:
    """A requirement whose tests are said to exist has one."""
    built = {id_ for id_, row in load_requirements().items() if row.built}

    assert built
    assert built - covered() == set()


def test_no_test_of_what_is_not_built() -> None:
    """A requirement that has tests is said to be built: profiles may demand it then."""
    rows = load_requirements()

    assert {id_ for id_ in covered() if not rows[id_].built} == set()


def test_every_chapter_test_names_a_requirement() -> None:
    """A test that belongs nowhere would be counted nowhere."""
    silent = [f"{file.name}: {function.name}" for file, function in functions()]
    named = [f"{file.name}: {function.name}" for file, function in functions() if ids_of(function)]

    assert silent == named


def test_every_chapter_test_says_what_it_claims() -> None:
    """Docstrings are printed in reports: the claim, what it takes, what is expected."""
    poor = [
        f"{file.name}: {function.name}"
        for file, function in functions()
        if "Expected:" not in (ast.get_docstring(function) or "")
    ]

    assert poor == []


def test_chapters_live_where_the_table_says() -> None:
    """Every folder below suites/ is a chapter's, or tests the project itself."""
    folders = {path.name for path in SUITES.iterdir() if any(path.glob("test_*.py"))}

    ours = {folder for chapter in load_chapters().values() for folder in chapter.suites}
    assert folders - ELSEWHERE <= ours
