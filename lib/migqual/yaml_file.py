"""Read a YAML file that a user wrote, and report all problems of the file at once.

The file must be YAML 1.2, where ``12:30`` and ``yes`` are text. The file must contain a single
document, without duplicate keys and without tags. Inventories, topologies, profiles and the
table of requirements are such files.
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

from migqual.errors import InputProblem, InventoryError

Location = tuple[str | int, ...]
Model = TypeVar("Model", bound=BaseModel)

MAX_SUGGESTED_FILES = 8  # other files named in the remedy for a missing file
MAX_VALUES = 100_000  # nested YAML aliases can create more values than fit into memory
CORE_TAG_PREFIX = "tag:yaml.org,2002:"
ERROR_MESSAGES = {
    "missing": "missing",
    "extra_forbidden": "unknown key",
    "model_type": "not a mapping",
}


class StrictModel(BaseModel):
    """A pydantic base class for data from user files: unknown keys are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


def format_location(location: Location) -> str:
    """Format a location in a YAML file, for example as ``all.vars.migqual_pairs[0].source``."""
    text = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in location)
    return text.removeprefix(".") or "(top level)"


@dataclass(frozen=True)
class YamlDocument:
    """The contents of a YAML file as dicts, lists and scalars, with the line of each value.

    Attributes:
        file: Path of the file.
        data: Contents of the file, without the keys and values that have a problem in `problems`.
        lines: Line number of each value by location, counted from 1.
        problems: Problems of single keys and values, for example duplicate keys.
    """

    file: Path
    data: Any
    lines: Mapping[Location, int]
    problems: tuple[InputProblem, ...] = ()

    def find_line(self, location: Location) -> int:
        """Find the line number of `location`, or of the nearest enclosing location in the file."""
        while location and location not in self.lines:
            location = location[:-1]
        return self.lines.get(location, 1)

    def make_problem(self, location: Location, message: str) -> InputProblem:
        """Make an input problem from a message, with the location and the line number."""
        return InputProblem(
            format_location(location), f"{message} (line {self.find_line(location)})"
        )


@dataclass
class _NodeConverter:
    """A converter from YAML nodes to dicts, lists and scalars, which collects all problems."""

    yaml: YAML
    lines: dict[Location, int] = field(default_factory=dict)
    problems: list[InputProblem] = field(default_factory=list)
    open_node_ids: list[int] = field(default_factory=list)

    def add_problem(self, node: Node, location: Location, message: str) -> None:
        self.problems.append(
            InputProblem(format_location(location), f"{message} (line {node.start_mark.line + 1})")
        )

    def convert_node(self, node: Node, location: Location) -> Any:  # noqa: ANN401 - YAML data
        self.lines.setdefault(location, node.start_mark.line + 1)
        if len(self.lines) > MAX_VALUES:
            raise MarkedYAMLError(
                problem=f"more than {MAX_VALUES} values", problem_mark=node.start_mark
            )
        if isinstance(node, ScalarNode):
            return self.convert_scalar(node, location)
        if id(node) in self.open_node_ids:
            self.add_problem(node, location, "the YAML alias contains itself")
            return None
        self.open_node_ids.append(id(node))
        try:
            if isinstance(node, MappingNode):
                return self.convert_mapping(node, location)
            return [
                self.convert_node(item, (*location, index)) for index, item in enumerate(node.value)
            ]
        finally:
            self.open_node_ids.pop()

    def convert_scalar(self, node: ScalarNode, location: Location) -> Any:  # noqa: ANN401
        tag = str(node.tag).removeprefix(CORE_TAG_PREFIX)
        if tag in {"str", "timestamp"}:
            return node.value
        if tag not in {"int", "float", "bool", "null"}:
            self.add_problem(node, location, f"unknown tag {node.tag}")
            return None
        try:
            return self.yaml.constructor.construct_object(node)
        except (ValueError, YAMLError):
            self.add_problem(node, location, f"not a valid {tag}: {node.value[:40]!r}")
            return None

    def convert_mapping(self, node: MappingNode, location: Location) -> dict[str, Any]:
        items: dict[str, Any] = {}
        for key, value in node.value:
            if not isinstance(key, ScalarNode) or key.tag != CORE_TAG_PREFIX + "str":
                self.add_problem(key, location, "the key is not text; put the key in quotes")
                continue
            item_location = (*location, str(key.value))
            if key.value in items:
                first_line = self.lines[item_location]
                self.add_problem(key, item_location, f"duplicate key, first on line {first_line}")
                continue
            self.lines[item_location] = key.start_mark.line + 1
            items[key.value] = self.convert_node(value, item_location)
        return items


def read_yaml_document(file: Path) -> YamlDocument:
    """Read `file` as a YAML document.

    Raises:
        InventoryError: The file cannot be read or is not YAML.
    """
    yaml = YAML(typ="safe", pure=True)
    converter = _NodeConverter(yaml)
    try:
        text = file.read_text(encoding="utf-8")
        with warnings.catch_warnings(action="error"):
            node = yaml.compose(text)
        data = None if node is None else converter.convert_node(node, ())
    except OSError as error:
        problems = [InputProblem("file", str(error.strerror or error))]
        raise InventoryError(str(file), problems, remedy=_suggest_files(file)) from error
    except UnicodeDecodeError as error:
        message = f"not UTF-8 text; the first invalid byte is at offset {error.start}"
        raise InventoryError(str(file), [InputProblem("file", message)]) from error
    except RecursionError as error:
        raise InventoryError(str(file), [InputProblem("file", "nested too deeply")]) from error
    except ReusedAnchorWarning as error:
        message = f"not YAML: {' '.join(str(error).split())}"
        raise InventoryError(str(file), [InputProblem("file", message)]) from error
    except YAMLError as error:
        raise InventoryError(str(file), [_make_syntax_problem(error)]) from error
    return YamlDocument(file, data, converter.lines, tuple(converter.problems))


def _suggest_files(file: Path) -> str:
    folder = file if file.is_dir() else file.parent
    if not folder.is_dir():
        return f"correct the path: the folder {folder.absolute()} does not exist"
    yaml_names = sorted(path.name for path in folder.glob("*.y*ml"))
    if not yaml_names:
        return f"correct the path: there are no YAML files in {folder.absolute()}"
    suggestions = ", ".join(yaml_names[:MAX_SUGGESTED_FILES])
    return f"choose one of the YAML files in {folder.absolute()}: {suggestions}"


def _make_syntax_problem(error: YAMLError) -> InputProblem:
    if isinstance(error, MarkedYAMLError):
        mark = error.problem_mark or error.context_mark
        message = error.problem or error.context or "cannot be parsed"
        position = f"line {mark.line + 1}, column {mark.column + 1}" if mark else "file"
        return InputProblem(position, f"not YAML: {message}")
    return InputProblem("file", f"not YAML: {' '.join(str(error).split())}")


def validate_data(
    model: type[Model], data: object, document: YamlDocument, location: Location = ()
) -> tuple[Model | None, list[InputProblem]]:
    """Validate `data` with a pydantic model.

    Args:
        model: Pydantic class of the data.
        data: Part of the data of `document`.
        document: File with the data, for the line numbers in problems.
        location: Location of `data` in the document.

    Returns:
        The instance of `model` and an empty list, or None and the list of all problems.
    """
    if data is None:
        return None, [document.make_problem(location, "empty")]
    try:
        return model.model_validate(data), []
    except ValidationError as error:
        located_messages = list_validation_messages(error, data)
        return None, [
            document.make_problem((*location, *subpath), message)
            for subpath, message in located_messages
        ]


def list_validation_messages(error: ValidationError, data: object) -> list[tuple[Location, str]]:
    """List the location in `data` and a plain message for every validation error."""
    details = error.errors(include_url=False)
    return [
        (_locate_error(detail, data), _describe_error(detail))
        for detail in details
        if not _is_consequence(detail, details)
    ]


def _is_consequence(detail: ErrorDetails, details: Sequence[ErrorDetails]) -> bool:
    """Return whether the error is "list too short", and the list contains invalid items.

    pydantic counts only the valid items. When the user corrects the invalid items, the list may be
    long enough.
    """
    location = detail["loc"]
    return detail["type"] == "too_short" and any(
        sibling["loc"][: len(location)] == location and sibling["loc"] != location
        for sibling in details
    )


def load_yaml_model(file: Path, model: type[Model]) -> Model:
    """Load a YAML file as an instance of the pydantic class `model`.

    Raises:
        InventoryError: The file cannot be read or has problems. The error lists all problems.
    """
    document = read_yaml_document(file)
    instance, problems = validate_data(model, document.data, document)
    raise_problems(document, [*document.problems, *problems])
    if instance is None:  # only for the type checker; never happens
        raise InventoryError(str(file), [InputProblem("file", "empty")])
    return instance


def raise_problems(
    document: YamlDocument, problems: Sequence[InputProblem], *, remedy: str = ""
) -> None:
    """Raise `InventoryError` if `problems` is not empty. The error lists each problem once."""
    if problems:
        raise InventoryError(str(document.file), tuple(dict.fromkeys(problems)), remedy=remedy)


def _describe_error(detail: ErrorDetails) -> str:
    if detail["input"] is None:
        return "empty"
    if detail["type"] == "too_short":
        return f"the list needs at least {detail['ctx']['min_length']} entries"
    message = ERROR_MESSAGES.get(detail["type"], detail["msg"])
    return message.removeprefix("Value error, ").removeprefix("Assertion failed, ")


def _locate_error(detail: ErrorDetails, data: object) -> Location:
    """Return pydantic's location of the error, without the names of union branches."""
    steps: list[str | int] = []
    for step in detail["loc"]:
        try:
            data = data[step]  # type: ignore[index]
        except (KeyError, IndexError, TypeError):
            if detail["type"] != "missing" or step != detail["loc"][-1]:
                continue
        steps.append(step)
    return tuple(steps)
