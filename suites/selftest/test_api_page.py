"""docs/api.md is generated from the docstrings, and docstrings name only existing names."""

import ast
from collections.abc import Iterator

import pytest

import api_page

pytestmark = pytest.mark.selftest

MODULES = tuple(
    ".".join(file.relative_to(api_page.LIBRARY).with_suffix("").parts)
    for file in sorted(api_page.LIBRARY.glob("migqual/**/*.py"))
)


def list_signature_names(node: ast.FunctionDef) -> set[str]:
    arguments = node.args
    optional_arguments = [one for one in (arguments.vararg, arguments.kwarg) if one]
    return {
        argument.arg
        for argument in (
            *(*arguments.posonlyargs, *arguments.args),
            *(*arguments.kwonlyargs, *optional_arguments),
        )
    }


def list_attribute_names(node: ast.ClassDef) -> set[str]:
    """List the names that the section `Attributes` in the docstring of a class may contain.

    The names are the fields and methods of the class, the parameters of the methods, and the
    attributes in the code of the class, for example `name` in `self.name`.
    """
    return {
        *(
            ast.unparse(one.target if isinstance(one, ast.AnnAssign) else one.targets[0])
            for one in api_page.list_fields(node)
        ),
        *(one.name for one in node.body if isinstance(one, ast.FunctionDef)),
        *(one.attr for one in ast.walk(node) if isinstance(one, ast.Attribute)),
        *(one.arg for one in ast.walk(node) if isinstance(one, ast.arg)),
    }


def find_unknown_names(node: ast.AST) -> Iterator[str]:
    """Find documented arguments and attributes that the code does not have."""
    for part in ast.walk(node):
        if isinstance(part, ast.ClassDef):
            title, names = "Attributes", list_attribute_names(part)
        elif isinstance(part, ast.FunctionDef):
            title, names = "Args", list_signature_names(part)
        else:
            continue
        section = api_page.split_sections(ast.get_docstring(part) or "").get(title, "")
        documented_names = (name.lstrip("*") for name in api_page.split_names(section))
        yield from (f"{part.name}: {name}" for name in documented_names if name not in names)


def test_page_is_up_to_date() -> None:
    """docs/api.md is equal to the generated page; `.venv/bin/tox run -e api` writes the page."""
    assert api_page.PAGE.read_text(encoding="utf-8") == api_page.render_api_page()


def test_unknown_name_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """An entry of `CHAPTERS` must name a class or function that exists in its module.

    `CHAPTERS` lists the contents of the API page: classes and functions, by module.
    """
    monkeypatch.setitem(api_page.CHAPTERS, "Plan", {"migqual.model.plan": ("Plans",)})

    with pytest.raises(ValueError, match=r"migqual\.model\.plan\.Plans does not exist"):
        api_page.render_api_page()


def test_page_shows_signature_docstring_and_example() -> None:
    """On the API page, a class has its import statement, signature, docstring and example."""
    (entry,) = (one for one in api_page.list_entries("Plan") if one.name == "Plan")
    text = "\n".join(api_page.render_entry(entry))

    for part in (
        "    from migqual.model.plan import Plan\n",
        "```python\n@dataclass(frozen=True)\nclass Plan:\n    control: Control =",
        "**Attributes**\n\n- `channels`: ",
        "**Raises**\n\n- `UsageError`: ",
        "**Example**\n\nMigrate a guest over TLS",
        ":\n\n```python\nplan = Plan(tls=True",
        "#### Plan.list_non_default_fields\n",
    ):
        assert part in text


def test_documented_names_exist() -> None:
    """Every argument and attribute in a docstring of the library exists."""
    sources = {module: api_page.locate_module(module).read_text() for module in MODULES}
    unknown_names = [
        f"{module}.{name}"
        for module, source in sources.items()
        for name in find_unknown_names(ast.parse(source))
    ]

    assert len(MODULES) > 100
    assert unknown_names == []


def test_check_finds_unknown_names() -> None:
    """`find_unknown_names` reports a documented argument and attribute that do not exist."""
    source = '''
class Box:
    """A box.

    Attributes:
        size: Size in cm.
        color: Color of the box.
    """

    size: int

    def open(self, lid: str) -> None:
        """Open the box.

        Args:
            lid: The lid.
            key: The key.
        """
'''
    assert list(find_unknown_names(ast.parse(source))) == ["Box: color", "open: key"]
