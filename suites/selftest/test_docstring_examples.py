"""Examples in docstrings compile, and each name and argument in the examples exists."""

import ast
import builtins
import importlib
import inspect
import pkgutil
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass, is_dataclass
from functools import cache
from types import ModuleType
from typing import Any

import pytest

import fixtures
import migqual
from api_page import LITERAL_BLOCK, split_sections
from migqual import paths

pytestmark = pytest.mark.selftest

# Objects that a reader meets first; each of them needs an example.
ENTRY_POINTS = (
    "migqual.inventory.file.load_inventory",
    "migqual.migration.guarded.migrate_guarded",
    "migqual.migration.migrate.migrate",
    "migqual.model.guest_spec.GuestSpec",
    "migqual.model.plan.Plan",
    "migqual.predict.precopy.Prediction",
    "migqual.preflight.run.run_preflight_checks",
    "migqual.testbed.testbed.Testbed",
)


@dataclass(frozen=True)
class Example:
    """The code of an example in a docstring of the library or the fixtures.

    Attributes:
        module: Dotted name of the module that contains the docstring.
        owner: Dotted name of the module, class or function that the docstring describes.
    """

    module: str
    owner: str
    code: str


def extract_code_blocks(docstring: str) -> list[str]:
    """Extract the literal blocks of the `Example:` section of a docstring.

    A literal block is the indented code after `::`. Without an `Example:` section, the result is
    empty.

    Raises:
        ValueError: The section has no literal block.
    """
    section = split_sections(docstring).get("Example")
    if section is None:
        return []
    blocks = LITERAL_BLOCK.findall(section + "\n")
    if not blocks:
        raise ValueError(f"an example needs `::` and an indented block: {section}")
    return [textwrap.dedent(block) for block in blocks]


def list_examples() -> Iterator[Example]:
    """List the examples of all docstrings in the library and the fixtures."""
    for folder in (paths.ROOT / "lib" / "migqual", paths.FIXTURES):
        for file in sorted(folder.rglob("*.py")):
            module_path = file.relative_to(folder.parent).with_suffix("")
            module_name = ".".join(module_path.parts).removesuffix(".__init__")
            for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
                    name = "" if isinstance(node, ast.Module) else f".{node.name}"
                    docstring = ast.get_docstring(node) or ""
                    for code in extract_code_blocks(docstring):
                        yield Example(module_name, f"{module_name}{name}", code)


EXAMPLES = tuple(list_examples())


@cache
def index_public_objects() -> dict[str, tuple[object, ...]]:
    """Index public classes, functions and constants by name, and modules by dotted name."""
    objects: dict[str, list[object]] = {}
    for package in (migqual, fixtures):
        for module_info in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            module = importlib.import_module(module_info.name)
            objects.setdefault(module_info.name.removeprefix("migqual."), []).append(module)
            for name, value in vars(module).items():
                is_own = getattr(value, "__module__", module.__name__) == module.__name__
                if is_own and not name.startswith("_") and not isinstance(value, ModuleType):
                    objects.setdefault(name, []).append(value)
    return {name: tuple(values) for name, values in objects.items()}


@dataclass(frozen=True)
class Meaning:
    """What a name in a docstring example means, for example the class `Plan`.

    Attributes:
        value: The object with this name. If `is_instance` is true, the class of the object.
        is_instance: True if only the class of the object is known: `guest` is any `Guest`.
        is_method: True for a method, whose first argument `self` is not in the call.
    """

    value: Any
    is_instance: bool = False
    is_method: bool = False

    def has_attribute(self, name: str) -> bool:
        """Return whether an object in a docstring example can have the attribute `name`.

        For `guest.host`, `name` is `host`, and `value` is the class `Guest`. The class must have an
        attribute `host`, or a type annotation such as `host: Host`.

        For an instance of a class that is not a dataclass, the result is always True. `__init__` of
        the class may set attributes that this method cannot find.
        """
        is_open = self.is_instance and not is_dataclass(self.value)
        annotations = getattr(self.value, "__annotations__", {})
        return is_open or hasattr(self.value, name) or name in annotations

    def get_attribute(self, name: str) -> "Meaning | None":
        """Return what the attribute `name` means, as a `Meaning`; None if this is not known.

        For `guest.start_load`, the `value` of the result is the method `start_load`. For a
        property, or a field without a default, the result is None, because the class does not
        contain the value.
        """
        value = getattr(self.value, name, None)
        if value is None or isinstance(value, property):
            return None
        return Meaning(value, is_method=self.is_instance and inspect.isfunction(value))

    def can_be_called(self, node: ast.Call) -> bool:
        """Return whether the object accepts the arguments of a call."""
        arguments: list[Any] = [*([self] if self.is_method else []), *node.args]
        keywords: dict[str, Any] = {keyword.arg or "": keyword.value for keyword in node.keywords}
        try:
            inspect.signature(self.value).bind(*arguments, **keywords)
        except TypeError:
            return False
        return True


class ExampleNames:
    """The names in a docstring example, and the object or class that each name means.

    `find_problems` uses the meanings to check the attributes and arguments in the example. If the
    example assigns a value to a name, the meaning of the name is not known. A lower-case name
    without a definition means an object of the class with this name: `guest` is a `Guest`.
    """

    def __init__(self, tree: ast.AST, module: ModuleType) -> None:
        self._module_names = {
            name: value
            for name, value in {**vars(builtins), **vars(module)}.items()
            if not isinstance(value, ModuleType)
        }
        self._own_names = {
            node.id if isinstance(node, ast.Name) else str(node.name)
            for node in ast.walk(tree)
            if (isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store))
            or isinstance(node, ast.ExceptHandler)
        }

    def exists(self, node: ast.Name, *, is_called: bool) -> bool:
        """Return whether the example may use the name.

        Three kinds of names are allowed:

        - A name that the example itself defines.
        - A name for which `list_meanings` finds a meaning.
        - A lower-case name that the example does not call as a function. Such a name is a variable
          that the example uses, but does not show.

        Args:
            node: The name in the example.
            is_called: True if the example calls the name as a function.
        """
        can_be_object_of_reader = node.id.islower() and not is_called
        is_own = node.id in self._own_names
        return is_own or can_be_object_of_reader or bool(self.list_meanings(node))

    def list_meanings(self, node: ast.expr) -> tuple[Meaning, ...]:
        """List all objects and classes that a name can mean; empty if the meaning is not known.

        The node is a name, such as `guest`, or an attribute of a name, such as `guest.host`.
        """
        if isinstance(node, ast.Attribute):
            parents = self.list_meanings(node.value)
            attributes = (parent.get_attribute(node.attr) for parent in parents)
            return tuple(attribute for attribute in attributes if attribute)
        if not isinstance(node, ast.Name) or node.id in self._own_names:
            return ()
        if node.id in self._module_names:
            return (Meaning(self._module_names[node.id]),)
        class_name = node.id.title().replace("_", "")
        instances = [
            Meaning(value, is_instance=True)
            for value in index_public_objects().get(class_name, ())
            if node.id.islower() and isinstance(value, type)
        ]
        objects = [Meaning(value) for value in index_public_objects().get(node.id, ())]
        return tuple(instances or objects)


def find_problems(code: str, module: ModuleType) -> list[str]:
    """Find each name, attribute and argument that an example uses, but that does not exist.

    Args:
        code: The code of an example in a docstring.
        module: The module that contains the docstring.

    Returns:
        A message for each problem, for example `migrate_blindly does not exist`.
    """
    tree = ast.parse(code)
    names = ExampleNames(tree, module)
    nodes = list(ast.walk(tree))
    called_nodes = [node.func for node in nodes if isinstance(node, ast.Call)]
    problems = []
    for node in nodes:
        if isinstance(node, ast.Name) and not names.exists(node, is_called=node in called_nodes):
            problems.append(f"{node.id} does not exist")
        if isinstance(node, ast.Attribute):
            parents = names.list_meanings(node.value)
            if parents and not any(parent.has_attribute(node.attr) for parent in parents):
                problems.append(f"{ast.unparse(node)} does not exist")
        if isinstance(node, ast.Call):
            meanings = names.list_meanings(node.func)
            if meanings and not any(meaning.can_be_called(node) for meaning in meanings):
                problems.append(f"{ast.unparse(node)} does not fit the signature")
    return problems


def test_entry_points_have_an_example() -> None:
    """Each class and function in `ENTRY_POINTS` has an example in its docstring."""
    assert set(ENTRY_POINTS) <= {example.owner for example in EXAMPLES}


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.owner)
def test_example_uses_existing_names(example: Example) -> None:
    """The example compiles, and each name, attribute and argument in the example exists."""
    assert find_problems(example.code, importlib.import_module(example.module)) == []


@pytest.mark.parametrize(
    ("code", "problem"),
    [
        ("Plan(streams=4)", "Plan(streams=4) does not fit the signature"),
        ("Plan(timeout=Timeout())", "Timeout() does not fit the signature"),
        ("DiskSpec(StoreKind.FLOPPY)", "StoreKind.FLOPPY does not exist"),
        ("migrate(guest)", "migrate(guest) does not fit the signature"),
        ("testbed.migrate(guest, Plan(), 5)", "testbed.migrate(guest, Plan(), 5) does not fit"),
        ("testbed.make_guests(GuestSpec())", "testbed.make_guests does not exist"),
        ("outcome.reason", "outcome.reason does not exist"),
        ("migrate_blindly(guest)", "migrate_blindly does not exist"),
        ("paths.get_attic()", "paths.get_attic does not exist"),
        ("use(OLD_LOAD)", "OLD_LOAD does not exist"),
    ],
)
def test_check_finds_rotten_example(code: str, problem: str) -> None:
    """For a docstring example, `find_problems` reports wrong arguments and unknown names."""
    assert any(message.startswith(problem) for message in find_problems(code, migqual))


def test_every_block_of_an_example_is_extracted() -> None:
    """Each literal block in the `Example:` section of a docstring is extracted as code.

    A literal block is the indented code after `::`. A section without a literal block is an error.
    """
    docstring = """Do a thing.

    Example:
        First::

            one(1)

        Second::

            two(2)

    Raises:
        UsageError: The thing is done.
    """
    assert [block.strip() for block in extract_code_blocks(docstring)] == ["one(1)", "two(2)"]
    with pytest.raises(ValueError, match="an indented block"):
        extract_code_blocks("Do a thing.\n\n    Example:\n        three(3)\n")
