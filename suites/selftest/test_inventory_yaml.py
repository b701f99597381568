"""Reading YAML strictly: lines, duplicates, what is not YAML, what cannot be read."""

from pathlib import Path
from typing import Annotated

import pytest
from pydantic import Field

from migqual.errors import InventoryError
from migqual.model.yamlfile import StrictModel, load, read

pytestmark = pytest.mark.selftest


class Inner(StrictModel):
    size_mib: Annotated[int, Field(gt=0)]
    name: str = ""


class Outer(StrictModel):
    items: tuple[Inner, ...]
    times: dict[str, str] = Field(default_factory=dict)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "some.yml"


def faults(file: Path) -> list[str]:
    with pytest.raises(InventoryError) as caught:
        load(file, Outer)
    return [str(fault) for fault in caught.value.faults]


def test_text_stays_text(file: Path) -> None:
    """YAML 1.2: neither a time of day, nor a date, nor `yes` turns into something else."""
    file.write_text("items: [{size_mib: 1}]\ntimes: {a: 12:30, b: yes, c: 2024-01-01, d: off}\n")

    assert load(file, Outer).times == {"a": "12:30", "b": "yes", "c": "2024-01-01", "d": "off"}


def test_every_fault_of_a_file(file: Path) -> None:
    """Types, unknown and missing keys, duplicates: all at once, by path and line."""
    file.write_text("items:\n  - {size_mib: 0}\n  - {name: x, sise: 1}\nmore: 1\nmore: 2\n")

    assert faults(file) == [
        "more: duplicate key, first on line 4 (line 5)",
        "items[0].size_mib: Input should be greater than 0 (line 2)",
        "items[1].size_mib: missing (line 3)",
        "items[1].sise: unknown key (line 3)",
        "more: unknown key (line 4)",
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "(top level): empty (line 1)"),
        ("- 1", "(top level): not a mapping (line 1)"),
        ("items: [1", "line 1, column 10: not YAML: "),
        ("a: 1\n---\nb: 2\n", "not YAML: but found another document"),
        ("a: \x01", "not YAML: unacceptable character"),
        ("items: !!python/object:os.system x", "items: unknown tag"),
        ("items: &a [*a]", "items[0]: an alias of something that contains it (line 1)"),
        ("items: &a [1]\ntimes: &a {}", "found duplicate anchor"),
        ("? [a]\n: 1\n", "a key that is not text"),
        ("items: " + "[" * 3000, "file: nested too deeply"),
        ("1: 2", "a key that is not text; put it in quotes (line 1)"),
    ],
    ids=range(11),
)
def test_what_is_not_yaml_or_not_ours(file: Path, text: str, said: str) -> None:
    """One clear line each, never a traceback."""
    file.write_text(text)

    assert any(said in fault for fault in faults(file)), faults(file)


def test_aliases_of_aliases_are_bounded(file: Path) -> None:
    """A file of a few lines cannot fill the memory."""
    rows = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    rows += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 9)]
    file.write_text("\n".join(rows))

    assert "more than 100000 values" in faults(file)[0]


def test_what_cannot_be_read(file: Path, tmp_path: Path) -> None:
    """A file that is not there, a folder, bytes that are no text."""
    assert faults(file) == ["file: No such file or directory"]
    assert faults(tmp_path) == ["file: Is a directory"]
    file.write_bytes(b"a: \xff\n")
    assert faults(file) == ["file: not UTF-8 text (byte 3)"]


def test_lines_of_what_is_absent(file: Path) -> None:
    """The nearest thing around it gives the line."""
    file.write_text("a:\n  b:\n    - c: 1\n")
    document = read(file)

    assert document.line(("a", "b", 0, "c")) == 3
    assert document.line(("a", "b", 7, "x")) == 2
    assert document.line(("z",)) == 1
