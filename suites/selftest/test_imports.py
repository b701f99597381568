"""Imports run downwards only, and the outside world is touched where the design says."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from migqual import places

pytestmark = pytest.mark.selftest

LIBRARY = places.ROOT / "lib" / "migqual"
GROUND = {"errors", "deadline", "places", "steps"}
HOSTS = {*GROUND, "model", "image", "hosts"}
MIDDLE = {"bench", "faults", "migration", "observe", "predict", "preflight", "tls", "workload"}
# What the parts of `migqual` may import of each other; a part may always import itself.
ALLOWED = {
    "__init__": set[str](),
    "errors": set(),
    "places": set(),
    "steps": set(),
    "deadline": {"errors"},
    "model": {"errors", "places"},  # the profiles and requirements that are shipped
    "image": GROUND,
    "report": {"errors", "places", "model"},
    "lab": {*GROUND, "model", "image"},
    "hosts": HOSTS,
    "sweep": HOSTS,
    **dict.fromkeys(MIDDLE, HOSTS | MIDDLE),
    "commands": {*HOSTS, *MIDDLE, "__init__", "lab", "report", "sweep"},
    "cli": {"__init__", "errors"},
}
# Who may import what is not ours.
OUTSIDE = {
    "libvirt": {"hosts"},
    "libvirt_qemu": {"hosts"},
    "paramiko": {"hosts"},
    "pytest": set[str](),
    "_pytest": set[str](),
    "fixtures": set[str](),
}
TESTS_OF_THE_LAB = ("test_lab", "test_cli", "test_journal", "test_sweep")


def modules(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.py"))


def imported(file: Path) -> Iterator[str]:
    """Dotted names of what a module imports when it runs."""
    todo: list[ast.AST] = [ast.parse(file.read_text(encoding="utf-8"))]
    while todo:
        node = todo.pop()
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}:{node.lineno}: a relative import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        todo.extend(ast.iter_child_nodes(node))


def part_of(file: Path) -> str:
    """`lib/migqual/hosts/shell.py` -> `hosts`."""
    return file.relative_to(LIBRARY).parts[0].removesuffix(".py")


def part_named(dotted: str) -> str | None:
    """`migqual.hosts.shell` -> `hosts`; `migqual.__version__` -> `__init__`; others -> None."""
    top, _, rest = dotted.partition(".")
    if top != "migqual":
        return None
    part = rest.partition(".")[0]
    is_part = (LIBRARY / part).is_dir() or (LIBRARY / f"{part}.py").is_file()
    return part if part and is_part else "__init__"


def test_the_scan_sees_imports() -> None:
    """The scan itself works: known imports are found, those for type checkers only are not."""
    assert "migqual.model.inventory.Host" in set(imported(LIBRARY / "hosts" / "ssh.py"))
    assert not any(name.startswith("migqual.model") for name in imported(LIBRARY / "errors.py"))
    assert {part_of(file) for file in modules(LIBRARY)} >= {"cli", "hosts", "model", "report"}


def test_the_library_imports_downwards() -> None:
    """A module imports only parts of the library that lie below its own."""
    upwards = [
        f"{file.relative_to(LIBRARY)} imports {name}"
        for file in modules(LIBRARY)
        for name in imported(file)
        if (named := part_named(name)) and named not in {part_of(file), *ALLOWED[part_of(file)]}
    ]

    assert upwards == []


def test_the_outside_is_touched_in_one_place() -> None:
    """libvirt and SSH belong to `hosts`; pytest and the fixtures to nobody in the library."""
    touching = [
        f"{file.relative_to(LIBRARY)} imports {name}"
        for file in modules(LIBRARY)
        for name in imported(file)
        if part_of(file) not in OUTSIDE.get(name.partition(".")[0], {part_of(file)})
    ]

    assert touching == []


def test_nobody_but_its_own_tests_knows_the_lab() -> None:
    """Fixtures and suites know an inventory and no lab."""
    files = [*modules(places.FIXTURES), *modules(places.ROOT / "suites")]
    knowing = [
        str(file.relative_to(places.ROOT))
        for file in files
        if not file.name.startswith(TESTS_OF_THE_LAB)
        if any(name.startswith("migqual.lab") for name in imported(file))
    ]

    assert knowing == []
