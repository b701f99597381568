"""Read one YAML file that a person wrote, strictly, and say everything that is wrong with it.

YAML 1.2 (so ``12:30`` and ``yes`` stay text), one document, no duplicate keys, no tags.
Inventories, topologies, profiles and the requirements table all come through here.
"""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic_core import ErrorDetails
from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, ReusedAnchorWarning, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode

from migqual.errors import Fault, InventoryError

Location = tuple[str | int, ...]
Model = TypeVar("Model", bound=BaseModel)

MOST_NEAR = 8  # files named where one is missing
MOST_VALUES = 100_000  # aliases of aliases grow without bound; no honest file comes near
CORE = "tag:yaml.org,2002:"
WORDS = {"missing": "missing", "extra_forbidden": "unknown key", "model_type": "not a mapping"}


class StrictModel(BaseModel):
    """Base of every model of a written file: unknown keys are faults, values never change."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


def spell(location: Location) -> str:
    """A path as people write it: ``all.vars.migqual_pairs[0].source``."""
    words = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in location)
    return words.removeprefix(".") or "(top level)"


@dataclass(frozen=True)
class Document:
    """A file's contents as plain data, and the line (from 1) on which each value stands.

    `faults` are those that leave the rest readable: duplicate keys, keys that are not text.
    """

    file: Path
    data: Any
    lines: Mapping[Location, int]
    faults: tuple[Fault, ...] = ()

    def line(self, location: Location) -> int:
        """The line of `location`, or of the nearest thing around it that is in the file."""
        while location and location not in self.lines:
            location = location[:-1]
        return self.lines.get(location, 1)

    def fault(self, location: Location, words: str) -> Fault:
        return Fault(spell(location), f"{words} (line {self.line(location)})")


@dataclass
class _Reader:
    """Turns composed nodes into plain data, collecting faults instead of stopping at one."""

    yaml: YAML
    lines: dict[Location, int] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)
    open: list[int] = field(default_factory=list)

    def complain(self, node: Node, location: Location, words: str) -> None:
        self.faults.append(Fault(spell(location), f"{words} (line {node.start_mark.line + 1})"))

    def plain(self, node: Node, location: Location) -> Any:  # noqa: ANN401 - that is YAML
        self.lines.setdefault(location, node.start_mark.line + 1)
        if len(self.lines) > MOST_VALUES:
            raise MarkedYAMLError(
                problem=f"more than {MOST_VALUES} values", problem_mark=node.start_mark
            )
        if isinstance(node, ScalarNode):
            return self.scalar(node, location)
        if id(node) in self.open:
            self.complain(node, location, "an alias of something that contains it")
            return None
        self.open.append(id(node))
        try:
            if isinstance(node, MappingNode):
                return self.mapping(node, location)
            return [self.plain(item, (*location, at)) for at, item in enumerate(node.value)]
        finally:
            self.open.pop()

    def scalar(self, node: ScalarNode, location: Location) -> Any:  # noqa: ANN401
        kind = str(node.tag).removeprefix(CORE)
        if kind in {"str", "timestamp"}:
            return node.value
        if kind not in {"int", "float", "bool", "null"}:
            self.complain(node, location, f"unknown tag {node.tag}")
            return None
        try:
            return self.yaml.constructor.construct_object(node)
        except (ValueError, YAMLError):
            self.complain(node, location, f"not a value: {node.value[:40]!r}")
            return None

    def mapping(self, node: MappingNode, location: Location) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for key, value in node.value:
            if not isinstance(key, ScalarNode) or key.tag != CORE + "str":
                self.complain(key, location, "a key that is not text; put it in quotes")
                continue
            here = (*location, str(key.value))
            if key.value in found:
                first = self.lines[here]
                self.complain(key, here, f"duplicate key, first on line {first}")
                continue
            self.lines[here] = key.start_mark.line + 1
            found[key.value] = self.plain(value, here)
        return found


def read(file: Path) -> Document:
    """Read `file`. Raises `InventoryError` when it cannot be read or is not YAML."""
    yaml = YAML(typ="safe", pure=True)
    reader = _Reader(yaml)
    try:
        text = file.read_text(encoding="utf-8")
        with warnings.catch_warnings(action="error"):
            node = yaml.compose(text)
        data = None if node is None else reader.plain(node, ())
    except OSError as error:
        faults = [Fault("file", str(error.strerror or error))]
        raise InventoryError(str(file), faults, remedy=_remedy(file)) from error
    except UnicodeDecodeError as error:
        words = f"not UTF-8 text (byte {error.start})"
        raise InventoryError(str(file), [Fault("file", words)]) from error
    except RecursionError as error:
        raise InventoryError(str(file), [Fault("file", "nested too deeply")]) from error
    except ReusedAnchorWarning as error:
        words = f"not YAML: {' '.join(str(error).split())}"
        raise InventoryError(str(file), [Fault("file", words)]) from error
    except YAMLError as error:
        raise InventoryError(str(file), [_syntax(error)]) from error
    return Document(file, data, reader.lines, tuple(reader.faults))


def _remedy(file: Path) -> str:
    folder = file if file.is_dir() else file.parent
    if not folder.is_dir():
        return f"there is no folder {folder.absolute()}"
    near = sorted(path.name for path in folder.glob("*.y*ml"))
    there = f"YAML files in {folder.absolute()}"
    return f"{there}: {', '.join(near[:MOST_NEAR])}" if near else f"there are no {there}"


def _syntax(error: YAMLError) -> Fault:
    if isinstance(error, MarkedYAMLError):
        mark = error.problem_mark or error.context_mark
        words = error.problem or error.context or "cannot be parsed"
        where = f"line {mark.line + 1}, column {mark.column + 1}" if mark else "file"
        return Fault(where, f"not YAML: {words}")
    return Fault("file", f"not YAML: {' '.join(str(error).split())}")


def check(
    model: type[Model], data: object, document: Document, at: Location = ()
) -> tuple[Model | None, list[Fault]]:
    """`data`, which stands at `at` in `document`, as a `model`; or None and every fault."""
    if data is None:
        return None, [document.fault(at, "empty")]
    try:
        return model.model_validate(data), []
    except ValidationError as error:
        found = problems(error, data)
        return None, [document.fault((*at, *place), words) for place, words in found]


def problems(error: ValidationError, data: object) -> list[tuple[Location, str]]:
    """Every problem with `data`: where in it, and what, in plain words."""
    details = error.errors(include_url=False)
    return [
        (_location(detail, data), _words(detail))
        for detail in details
        if not _follows_from_others(detail, details)
    ]


def _follows_from_others(detail: ErrorDetails, details: Sequence[ErrorDetails]) -> bool:
    """Whether it only says that a list is short because the bad ones in it do not count."""
    at = detail["loc"]
    return detail["type"] == "too_short" and any(
        other["loc"][: len(at)] == at and other["loc"] != at for other in details
    )


def load(file: Path, model: type[Model]) -> Model:
    """Read `file` as a `model`. Raises `InventoryError` with every fault of the file at once."""
    document = read(file)
    found, faults = check(model, document.data, document)
    raise_all(document, [*document.faults, *faults])
    if found is None:  # never without a fault, which only the type checker cannot see
        raise InventoryError(str(file), [Fault("file", "empty")])
    return found


def raise_all(document: Document, faults: Sequence[Fault], *, remedy: str = "") -> None:
    """Raise `InventoryError` when there are faults; each is told once."""
    if faults:
        raise InventoryError(str(document.file), tuple(dict.fromkeys(faults)), remedy=remedy)


def _words(detail: ErrorDetails) -> str:
    if detail["input"] is None:
        return "empty"
    if detail["type"] == "too_short":
        return f"at least {detail['ctx']['min_length']} must be given"
    words = WORDS.get(detail["type"], detail["msg"])
    return words.removeprefix("Value error, ").removeprefix("Assertion failed, ")


def _location(detail: ErrorDetails, data: object) -> Location:
    """The error's place in the file: pydantic's own, less the names of union branches."""
    steps: list[str | int] = []
    for step in detail["loc"]:
        try:
            data = data[step]  # type: ignore[index]
        except (KeyError, IndexError, TypeError):
            if detail["type"] != "missing" or step != detail["loc"][-1]:
                continue
        steps.append(step)
    return tuple(steps)
