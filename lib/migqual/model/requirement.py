"""Load the requirements table, `fixtures/requirements.yml`."""

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Annotated

from pydantic import Field, StringConstraints

from migqual import paths
from migqual.errors import InputProblem, InventoryError, UsageError
from migqual.yaml_file import StrictModel, load_yaml_model

REQUIREMENTS_FILE = paths.FIXTURES / "requirements.yml"

RequirementId = Annotated[str, StringConstraints(pattern=r"^LM-[A-Z]{3}-[0-9]{2}$")]
Slug = Annotated[str, StringConstraints(pattern=r"^[a-z]+(-[a-z]+)*$")]
Sentence = Annotated[str, StringConstraints(min_length=3, strip_whitespace=True)]


class Enforcer(StrEnum):
    """What enforces a requirement: the value of `enforced_by` in the requirements table.

    Attributes:
        HYPERVISOR: libvirt and QEMU themselves meet the requirement.
        GUARD: The guard, migqual's check before a migration, refuses a migration that is against
            the requirement.
        REPORT: The tests measure the result, and the report shows the result to the user.
    """

    HYPERVISOR = "H"
    GUARD = "G"
    REPORT = "R"


@dataclass(frozen=True)
class Chapter:
    """A group of requirements.

    Attributes:
        slug: Short name of the chapter, e.g. ``encryption``.
        suites: Folders below `suites/` with the tests of the chapter.
        has_tests: True when the tests of the chapter exist. A requirement can override the
            value.
    """

    slug: str
    title: str
    suites: tuple[str, ...]
    has_tests: bool


@dataclass(frozen=True)
class Requirement:
    """A requirement for a pair of hosts.

    Attributes:
        chapter: Short name (`slug`) of the chapter.
        statement: What the hosts must do.
        expected: Result that a test must have for the verdict `pass`.
        enforcers: What enforces the requirement. `Enforcer` explains the values.
        has_tests: True when tests of the requirement exist.
    """

    id: str
    chapter: str
    title: str
    statement: str
    expected: str
    enforcers: frozenset[Enforcer]
    has_tests: bool


SuiteFolder = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z_]*$")]


class _ChapterSchema(StrictModel):
    title: Sentence
    suites: Annotated[tuple[SuiteFolder, ...], Field(min_length=1)]
    has_tests: bool


class _RequirementSchema(StrictModel):
    chapter: Slug
    title: Sentence
    statement: Sentence
    expected: Sentence
    enforced_by: Annotated[tuple[Enforcer, ...], Field(min_length=1)]
    has_tests: bool | None = None


class _RequirementsTableSchema(StrictModel):
    chapters: dict[Slug, _ChapterSchema]
    requirements: dict[RequirementId, _RequirementSchema]


def load_chapters(file: Path = REQUIREMENTS_FILE) -> Mapping[str, Chapter]:
    """Load all chapters of the requirements table; return the chapters by short name (`slug`).

    Raises:
        InventoryError: The table has problems. The error lists all problems.
    """
    return _load_table(file)[0]


def load_requirements(file: Path = REQUIREMENTS_FILE) -> Mapping[str, Requirement]:
    """Load all requirements of the requirements table; return the requirements by id.

    Raises:
        InventoryError: The table has problems. The error lists all problems.
    """
    return _load_table(file)[1]


def find_requirement(requirement_id: str, requirements: Mapping[str, Requirement]) -> Requirement:
    """Find the requirement with the id `requirement_id`.

    Raises:
        UsageError: `requirements` has no such id. The remedy suggests similar ids.
    """
    if requirement_id not in requirements:
        raise UsageError(
            f"no requirement {requirement_id!r}", remedy=suggest_ids(requirement_id, requirements)
        )
    return requirements[requirement_id]


def suggest_ids(unknown_id: str, ids: Iterable[str]) -> str:
    """Return a hint with similar ids. Without a similar id, the hint names the file of all ids."""
    similar_ids = difflib.get_close_matches(unknown_id.upper(), list(ids), 3, cutoff=0.5)
    return (
        f"did you mean {' or '.join(similar_ids)}?"
        if similar_ids
        else f"all ids are in fixtures/{REQUIREMENTS_FILE.name}"
    )


@cache
def _load_table(file: Path) -> tuple[Mapping[str, Chapter], Mapping[str, Requirement]]:
    table = load_yaml_model(file, _RequirementsTableSchema)
    if problems := _find_unmatched_chapters(table):
        raise InventoryError(str(file), problems)
    chapters = {
        slug: Chapter(slug, entry.title, entry.suites, entry.has_tests)
        for slug, entry in table.chapters.items()
    }
    requirements = {
        id_: _build_requirement(id_, entry, chapters[entry.chapter])
        for id_, entry in table.requirements.items()
    }
    return MappingProxyType(chapters), MappingProxyType(requirements)


def _find_unmatched_chapters(table: _RequirementsTableSchema) -> list[InputProblem]:
    """Find requirements with an unknown chapter, and chapters that no requirement names."""
    used_chapters = {entry.chapter for entry in table.requirements.values()}
    return [
        *(
            InputProblem(
                f"requirements.{id_}.chapter",
                f"no chapter {entry.chapter!r} is in the section `chapters` of this file",
            )
            for id_, entry in table.requirements.items()
            if entry.chapter not in table.chapters
        ),
        *(
            InputProblem(f"chapters.{slug}", f"no requirement belongs to the chapter {slug!r}")
            for slug in table.chapters
            if slug not in used_chapters
        ),
    ]


def _build_requirement(
    requirement_id: str, entry: _RequirementSchema, chapter: Chapter
) -> Requirement:
    return Requirement(
        id=requirement_id,
        chapter=chapter.slug,
        title=entry.title,
        statement=entry.statement,
        expected=entry.expected,
        enforcers=frozenset(entry.enforced_by),
        has_tests=chapter.has_tests if entry.has_tests is None else entry.has_tests,
    )
