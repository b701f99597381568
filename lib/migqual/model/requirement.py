"""The requirements table, `fixtures/requirements.yml`, as data."""

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Annotated

from pydantic import Field, StringConstraints

from migqual import places
from migqual.errors import Fault, InventoryError, UsageError
from migqual.model.yamlfile import StrictModel, load

FILE = places.FIXTURES / "requirements.yml"

RequirementId = Annotated[str, StringConstraints(pattern=r"^LM-[A-Z]{3}-[0-9]{2}$")]
Slug = Annotated[str, StringConstraints(pattern=r"^[a-z]+(-[a-z]+)*$")]
Sentence = Annotated[str, StringConstraints(min_length=3, strip_whitespace=True)]


class Enforcer(StrEnum):
    """Who sees to it that a requirement is kept."""

    HYPERVISOR = "H"
    GUARD = "G"
    REPORT = "R"


@dataclass(frozen=True)
class Chapter:
    """A group of requirements.

    suites  folders below `suites/` with its tests
    built   whether its tests exist; until then none of its requirements can have a verdict
    """

    slug: str
    title: str
    suites: tuple[str, ...]
    built: bool


@dataclass(frozen=True)
class Requirement:
    """One thing that a pair of hosts must show.

    chapter    slug of its chapter
    statement  what is claimed about hosts
    expected   what the suite asserts
    by         who enforces it
    built      whether its tests exist: its own word where it has one, else its chapter's
    """

    id: str
    chapter: str
    title: str
    statement: str
    expected: str
    by: frozenset[Enforcer]
    built: bool


Folder = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z_]*$")]


class _ChapterEntry(StrictModel):
    title: Sentence
    suites: Annotated[tuple[Folder, ...], Field(min_length=1)]
    built: bool


class _RequirementEntry(StrictModel):
    chapter: Slug
    title: Sentence
    statement: Sentence
    expected: Sentence
    by: Annotated[tuple[Enforcer, ...], Field(min_length=1)]
    built: bool | None = None


class _Table(StrictModel):
    chapters: dict[Slug, _ChapterEntry]
    requirements: dict[RequirementId, _RequirementEntry]


def load_chapters(file: Path = FILE) -> Mapping[str, Chapter]:
    """All chapters by slug, in order. Raises `InventoryError` with every fault of the table."""
    return _tables(file)[0]


def load_requirements(file: Path = FILE) -> Mapping[str, Requirement]:
    """All requirements by id, in order. Raises `InventoryError` with every fault of the table."""
    return _tables(file)[1]


def find_requirement(id_: str, requirements: Mapping[str, Requirement]) -> Requirement:
    """The requirement `id_`. Raises `UsageError` that suggests ids like it."""
    if id_ not in requirements:
        raise UsageError(f"no requirement {id_!r}", remedy=suggestion(id_, requirements))
    return requirements[id_]


def suggestion(id_: str, known: Iterable[str]) -> str:
    """Ids near to `id_`, in words; where none is near, where all of them stand."""
    near = difflib.get_close_matches(id_.upper(), list(known), 3, cutoff=0.5)
    return f"did you mean {' or '.join(near)}?" if near else f"all ids are in {FILE.name}"


@cache
def _tables(file: Path) -> tuple[Mapping[str, Chapter], Mapping[str, Requirement]]:
    table = load(file, _Table)
    if strays := _strays(table):
        raise InventoryError(str(file), strays)
    chapters = {
        slug: Chapter(slug, entry.title, entry.suites, entry.built)
        for slug, entry in table.chapters.items()
    }
    rows = {
        id_: _requirement(id_, entry, chapters[entry.chapter])
        for id_, entry in table.requirements.items()
    }
    return MappingProxyType(chapters), MappingProxyType(rows)


def _strays(table: _Table) -> list[Fault]:
    """Requirements of no chapter, and chapters of no requirement."""
    used = {entry.chapter for entry in table.requirements.values()}
    return [
        *(
            Fault(f"requirements.{id_}.chapter", f"no chapter {entry.chapter!r}")
            for id_, entry in table.requirements.items()
            if entry.chapter not in table.chapters
        ),
        *(
            Fault(f"chapters.{slug}", "has no requirement")
            for slug in table.chapters
            if slug not in used
        ),
    ]


def _requirement(id_: str, entry: _RequirementEntry, chapter: Chapter) -> Requirement:
    return Requirement(
        id=id_,
        chapter=chapter.slug,
        title=entry.title,
        statement=entry.statement,
        expected=entry.expected,
        by=frozenset(entry.by),
        built=chapter.built if entry.built is None else entry.built,
    )
