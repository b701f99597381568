"""Strict reading of YAML: line numbers, duplicate keys, invalid YAML and unreadable files."""

from pathlib import Path
from typing import Annotated

import pytest
from pydantic import Field

from migqual.yaml_file import StrictModel, load_yaml_model, read_yaml_document
from suites.selftest.support.input_problems import list_input_problems

pytestmark = pytest.mark.selftest


class InnerModel(StrictModel):
    size_mib: Annotated[int, Field(gt=0)]
    name: str = ""


class OuterModel(StrictModel):
    items: tuple[InnerModel, ...]
    times: dict[str, str] = Field(default_factory=dict)


def load_outer_model(path: Path) -> OuterModel:
    return load_yaml_model(path, OuterModel)


@pytest.fixture
def yaml_file(tmp_path: Path) -> Path:
    return tmp_path / "some.yml"


def test_yaml_text_stays_text(yaml_file: Path) -> None:
    """As in YAML 1.2, a time of day, a date and `yes` stay text."""
    yaml_file.write_text(
        "items: [{size_mib: 1}]\ntimes: {a: 12:30, b: yes, c: 2024-01-01, d: off}\n"
    )

    assert load_yaml_model(yaml_file, OuterModel).times == {
        "a": "12:30",
        "b": "yes",
        "c": "2024-01-01",
        "d": "off",
    }


def test_all_yaml_problems_are_reported_at_once(yaml_file: Path) -> None:
    """Bad values, unknown and missing keys and duplicates are reported by path and line."""
    yaml_file.write_text("items:\n  - {size_mib: 0}\n  - {name: x, size: 1}\nmore: 1\nmore: 2\n")

    assert list_input_problems(load_outer_model, yaml_file) == [
        "more: duplicate key, first on line 4 (line 5)",
        "items[0].size_mib: Input should be greater than 0 (line 2)",
        "items[1].size_mib: missing (line 3)",
        "items[1].size: unknown key (line 3)",
        "more: unknown key (line 4)",
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "(top level): empty (line 1)"),
        ("- 1", "(top level): not a mapping (line 1)"),
        ("items: [1", "line 1, column 10: not YAML: "),
        ("a: 1\n---\nb: 2\n", "not YAML: but found another document"),
        ("a: \x01", "not YAML: unacceptable character"),
        ("items: !!python/object:os.system x", "items: unknown tag"),
        ("items: &a [*a]", "items[0]: the YAML alias contains itself (line 1)"),
        ("items: &a [1]\ntimes: &a {}", "found duplicate anchor"),
        ("? [a]\n: 1\n", "the key is not text"),
        ("items: " + "[" * 3000, "file: nested too deeply"),
        ("1: 2", "the key is not text; put the key in quotes (line 1)"),
    ],
    ids=range(11),
)
def test_invalid_yaml_is_refused(yaml_file: Path, text: str, message: str) -> None:
    """Invalid YAML and unsupported YAML give a clear message, never a traceback."""
    yaml_file.write_text(text)

    assert any(
        message in problem for problem in list_input_problems(load_outer_model, yaml_file)
    ), list_input_problems(load_outer_model, yaml_file)


def test_nested_yaml_aliases_are_limited(yaml_file: Path) -> None:
    """Nested aliases in a short file cannot fill the memory."""
    rows = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    rows += [f"a{level}: &a{level} [{', '.join([f'*a{level - 1}'] * 10)}]" for level in range(1, 9)]
    yaml_file.write_text("\n".join(rows))

    assert "more than 100000 values" in list_input_problems(load_outer_model, yaml_file)[0]


def test_unreadable_file_is_reported(yaml_file: Path, tmp_path: Path) -> None:
    """A missing file, a folder, and bytes outside UTF-8 are reported."""
    assert list_input_problems(load_outer_model, yaml_file) == ["file: No such file or directory"]
    assert list_input_problems(load_outer_model, tmp_path) == ["file: Is a directory"]
    yaml_file.write_bytes(b"a: \xff\n")
    assert list_input_problems(load_outer_model, yaml_file) == [
        "file: not UTF-8 text; the first invalid byte is at offset 3"
    ]


def test_line_number_of_a_missing_value(yaml_file: Path) -> None:
    """A missing value gets the line of the nearest enclosing value."""
    yaml_file.write_text("a:\n  b:\n    - c: 1\n")
    document = read_yaml_document(yaml_file)

    assert document.find_line(("a", "b", 0, "c")) == 3
    assert document.find_line(("a", "b", 7, "x")) == 2
    assert document.find_line(("z",)) == 1
