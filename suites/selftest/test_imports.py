"""A part of the library imports only parts before it in `PART_ORDER`.

A part is a package or module directly below `lib/migqual`, for example `hosts` or `errors`. Only
the parts in `EXTERNAL_IMPORTERS` import certain external packages.
"""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from migqual import paths

pytestmark = pytest.mark.selftest

LIBRARY = paths.ROOT / "lib" / "migqual"
# The parts of the library in order. A part may import only parts before it in the list.
PART_ORDER = (
    "__init__",
    "errors",
    "units",
    "deadline",
    "paths",
    "step_times",
    "yaml_file",
    "architecture",
    "inventory",
    "model",
    "image",
    "hosts",
    "faults",
    "probes",
    "preflight",
    "observe",
    "migration",
    "predict",
    "testbed",
    "readiness",
    "report",
    "lab",
    "tls",
    "bench",
    "sweep",
    "commands",
    "cli",
)
# Parts with fewer imports than the order permits: inventory, model and image need no host, the
# report reads only records, and the lab needs no part that runs tests.
STRICTER_LIMITS = {
    "inventory": {"errors", "yaml_file", "architecture"},
    "model": {"errors", "units", "paths", "yaml_file", "architecture", "inventory"},
    "image": {"errors", "units", "deadline", "paths", "step_times", "architecture"},
    "report": {"errors", "paths", "model"},
    "lab": {
        *("errors", "deadline", "paths", "step_times", "yaml_file", "architecture"),
        *("inventory", "image"),
    },
    "cli": {"__init__", "errors"},
}
# External packages, each with the parts of `migqual` allowed to import the package.
EXTERNAL_IMPORTERS = {
    "libvirt": {"hosts"},
    "libvirt_qemu": {"hosts"},
    "paramiko": {"hosts"},
    "pytest": set[str](),
    "_pytest": set[str](),
    "fixtures": set[str](),
}
# Tests that may import the lab, by file or folder below `suites`.
LAB_TESTS = (
    "integration/test_lab_lifecycle.py",
    "integration/test_killed_runs.py",
    "selftest/inventory/test_inventory_docs.py",
    "selftest/commands/test_sweep.py",
    "selftest/hosts/test_journal.py",
    "selftest/lab/",
    "selftest/test_cli.py",
)


def list_module_files(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.py"))


def list_imports(file: Path) -> Iterator[str]:
    """Yield the dotted names of the run-time imports of a module."""
    pending_nodes: list[ast.AST] = [ast.parse(file.read_text(encoding="utf-8"))]
    while pending_nodes:
        node = pending_nodes.pop()
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}:{node.lineno}: a relative import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        pending_nodes.extend(ast.iter_child_nodes(node))


def get_part_of_file(file: Path) -> str:
    """Return the part (package or module below `lib/migqual`) to which a source file belongs.

    Example: `lib/migqual/hosts/shell.py` -> `hosts`.
    """
    return file.relative_to(LIBRARY).parts[0].removesuffix(".py")


def find_part_of_module(module_name: str) -> str | None:
    """Return the part to which a dotted name belongs; None for a name outside `migqual`.

    Examples: `migqual.hosts.shell` -> `hosts`; `migqual.__version__` -> `__init__`.
    """
    package, _, submodule = module_name.partition(".")
    if package != "migqual":
        return None
    part = submodule.partition(".")[0]
    is_part = (LIBRARY / part).is_dir() or (LIBRARY / f"{part}.py").is_file()
    return part if part and is_part else "__init__"


def list_allowed_parts(part: str) -> set[str]:
    """List the parts (packages and modules below `lib/migqual`) that `part` may import.

    Raises:
        ValueError: `PART_ORDER` does not contain `part`.
    """
    return STRICTER_LIMITS.get(part, set(PART_ORDER[: PART_ORDER.index(part)]))


def test_scan_finds_imports() -> None:
    """`list_imports` finds the imports of a module, except imports below `if TYPE_CHECKING:`."""
    assert "migqual.inventory.entities.HostEntry" in set(
        list_imports(LIBRARY / "hosts" / "ssh_config.py")
    )
    assert not any(name.startswith("migqual.model") for name in list_imports(LIBRARY / "errors.py"))
    assert {get_part_of_file(file) for file in list_module_files(LIBRARY)} >= {
        "cli",
        "hosts",
        "model",
        "report",
    }


def test_library_imports_only_lower_parts() -> None:
    """A module of a package imports only this package and parts before it in `PART_ORDER`.

    A part is a package or module directly below `lib/migqual`.
    """
    violations = [
        f"{file.relative_to(LIBRARY)} imports {name}"
        for file in list_module_files(LIBRARY)
        for name in list_imports(file)
        if (imported_part := find_part_of_module(name))
        and imported_part
        not in {get_part_of_file(file), *list_allowed_parts(get_part_of_file(file))}
    ]

    assert violations == []


def test_order_contains_exactly_the_parts() -> None:
    """`PART_ORDER` lists exactly the packages and modules directly below `lib/migqual`."""
    assert {get_part_of_file(file) for file in list_module_files(LIBRARY)} == set(PART_ORDER)


def test_suites_share_code_only_through_support() -> None:
    """A suite imports no other suite; `suites/support` and the fixtures import no suite."""
    suites = paths.ROOT / "suites"
    folder_by_file = {
        **{file: file.relative_to(suites).parts[0] for file in list_module_files(suites)},
        **dict.fromkeys(list_module_files(paths.FIXTURES), "support"),
    }
    violations = [
        f"{file.relative_to(paths.ROOT)} imports {name}"
        for file, folder in folder_by_file.items()
        for name in list_imports(file)
        if name.startswith("suites.") and name.split(".")[1] not in {folder, "support"}
    ]

    assert len(set(folder_by_file.values())) > 2
    assert violations == []


def test_external_packages_are_imported_in_one_part() -> None:
    """Only `hosts` imports libvirt and SSH; no part of the library imports pytest or fixtures."""
    violations = [
        f"{file.relative_to(LIBRARY)} imports {name}"
        for file in list_module_files(LIBRARY)
        for name in list_imports(file)
        if get_part_of_file(file)
        not in EXTERNAL_IMPORTERS.get(name.partition(".")[0], {get_part_of_file(file)})
    ]

    assert violations == []


def test_only_lab_tests_import_the_lab() -> None:
    """Fixtures and suites use an inventory and do not import the lab."""
    suites = paths.ROOT / "suites"
    files = [*list_module_files(paths.FIXTURES), *list_module_files(suites)]
    violations = [
        str(file.relative_to(paths.ROOT))
        for file in files
        if not str(file).removeprefix(f"{suites}/").startswith(LAB_TESTS)
        if any(name.startswith("migqual.lab") for name in list_imports(file))
    ]

    assert violations == []
