"""Write docs/api.md from the docstrings of the library: `tox -e api`.

The module reads the source text with `ast` and imports no module of the library. A selftest fails
if the page differs from the docstrings.
"""

import ast
import inspect
import re
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LIBRARY = ROOT / "lib"
PAGE = ROOT / "docs" / "api.md"
INTRODUCTION = """\
# API of the library

This page is generated from the docstrings: `.venv/bin/tox run -e api`. Do not edit the page.

The page describes the classes and functions for tests, and for programs that use migqual as a
library. [Writing a test](writing-a-test.md) shows the first steps, and
[architecture](architecture.md) shows how the parts work together. Names contain their units: `_s`,
`_ms`, `_us`, `_mib`, `_mib_s`.
"""
# The entries of each chapter, by module; without names all public definitions of the module.
CHAPTERS: dict[str, dict[str, tuple[str, ...]]] = {
    "Testbed": {
        "migqual.testbed.testbed": ("Testbed",),
        "migqual.testbed.connection": ("connect_testbed",),
        "migqual.testbed.host_pair": (),
        "migqual.testbed.observers": ("Observers", "ObservedMigration"),
    },
    "Faults": {
        "migqual.testbed.held_migration": ("hold_migration", "HeldMigration"),
        "migqual.testbed.injected_fault": ("InjectedFault",),
        "migqual.model.migration_phase": ("MigrationPhase", "determine_phase"),
        "migqual.faults.link_cut": (
            "cut_migration_link",
            "cut_qemu_connections",
            "LinkCut",
            "LinkTraffic",
        ),
        "migqual.faults.qemu_faults": (),
        "migqual.faults.daemon_faults": (),
    },
    "Guest": {
        "migqual.model.guest_spec": (),
        "migqual.hosts.guest": ("Guest",),
    },
    "Plan": {
        "migqual.model.plan": (),
        "migqual.model.qemu_parameter": ("QemuParameter", "ParameterEnds", "ParameterValue"),
    },
    "Migration": {
        "migqual.migration.migrate": ("migrate", "OnInterrupted"),
        "migqual.migration.guarded": ("migrate_guarded",),
        "migqual.migration.job_sampler": ("OnSample", "SampleAction"),
    },
    "Outcome": {
        "migqual.model.outcome": (),
        "migqual.model.job_stats": (),
        "migqual.model.metrics": (),
    },
    "Gap meter": {
        "migqual.observe.gap_meter": ("GapMeter", "run_gap_meter"),
        "migqual.observe.probe_interval": ("ProbeInterval",),
    },
    "Preflight": {
        "migqual.preflight.run": (),
        "migqual.preflight.collect": ("MigrationRequest", "collect_facts"),
        "migqual.preflight.checks": ("evaluate_facts",),
        "migqual.model.finding": (),
        "migqual.probes.probe_context": ("ProbeContext", "ProbeMode", "staged_payload"),
    },
    "Prediction": {
        "migqual.predict.guest_measurement": ("GuestMeasurement", "measure_dirtying"),
        "migqual.predict.prediction_inputs": (
            *("PredictionInputs", "SourcedValue", "UserOverrides", "collect_prediction_inputs"),
        ),
        "migqual.predict.setting_choices": (),
        "migqual.predict.precopy": (
            *("simulate_precopy", "TransferModel", "MigrationLimits", "Prediction"),
        ),
        "migqual.predict.dirty_curve": (
            *("DirtyModel", "DirtyCurve", "build_saturating_curve", "build_cyclic_curve"),
        ),
    },
    "Inventory": {"migqual.inventory.file": ("load_inventory",), "migqual.inventory.entities": ()},
    "Hosts": {
        "migqual.hosts.host": ("Host",),
        "migqual.hosts.shell": ("Shell", "CompletedCommand"),
        "migqual.hosts.journal": ("Journal", "JournalEntry"),
        "migqual.deadline": ("Deadline",),
    },
    "Verdict": {
        "migqual.model.verdict": (),
        "migqual.model.profile": ("Profile", "Thresholds", "load_profile"),
        "migqual.report.qualification": ("judge_pairs", "PairResult", "RequirementResult"),
        "migqual.report.report_folder": ("publish_report",),
    },
    "Errors": {"migqual.errors": ()},
}

Definition = ast.ClassDef | ast.FunctionDef | ast.Assign | ast.AnnAssign
SECTION_TITLES = ("Args", "Attributes", "Example", "Raises", "Returns", "Yields")
LITERAL_BLOCK = re.compile(r"::\n\n((?: {4}.*\n|\n)+)")
_SECTION = re.compile(rf"^({'|'.join(SECTION_TITLES)}):\n", re.MULTILINE)
_ENTRY = re.compile(r"^(\S+): ", re.MULTILINE)
_LINTER_COMMENT = re.compile(r"  # noqa.*")
_TYPE_NAME = re.compile(r"[A-Z]+[a-z]\w*")


@dataclass(frozen=True)
class Entry:
    """An entry of the API page: a public class, function, type or constant of a module."""

    module: str
    name: str
    node: Definition

    @property
    def kind(self) -> str:
        """Return `class`, `function`, `type` or `constant`, for the heading of the entry."""
        if isinstance(self.node, ast.ClassDef):
            return "class"
        if isinstance(self.node, ast.FunctionDef):
            return "function"
        return "type" if _TYPE_NAME.fullmatch(self.name) else "constant"


def main() -> None:
    """Write the API page to `docs/api.md`."""
    PAGE.write_text(render_api_page(), encoding="utf-8")


def render_api_page() -> str:
    """Render the whole API page as Markdown.

    Raises:
        ValueError: A name in `CHAPTERS` does not exist.
    """
    entries = {chapter: list_entries(chapter) for chapter in CHAPTERS}
    lines = [INTRODUCTION]
    for chapter, chapter_entries in entries.items():
        links = [f"[{e.name}](#{e.name.lower()}-{e.kind})" for e in chapter_entries]
        lines += [f"- {chapter}: {', '.join(links)}"]
    for chapter, chapter_entries in entries.items():
        lines += ["", f"## {chapter}"]
        for entry in chapter_entries:
            lines += ["", *render_entry(entry)]
    return "\n".join(lines) + "\n"


def list_entries(chapter: str) -> list[Entry]:
    """List the entries of a chapter: the names in `CHAPTERS`, or all public names of a module."""
    entries = []
    for module, names in CHAPTERS[chapter].items():
        definitions = {entry.name: entry for entry in list_definitions(module)}
        for name in names:
            if name not in definitions:
                raise ValueError(f"{module}.{name} does not exist: correct CHAPTERS in {__file__}")
        entries += [definitions[name] for name in names or definitions]
    return entries


def list_definitions(module: str) -> list[Entry]:
    """List the public classes, functions, types and constants of a module, in source order."""
    entries = []
    for node in ast.parse(_read_source(module)).body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef):
            entries.append(Entry(module, node.name, node))
        elif isinstance(node, ast.Assign | ast.AnnAssign) and "TypeVar(" not in ast.unparse(node):
            target = node.targets[0] if isinstance(node, ast.Assign) else node.target
            if isinstance(target, ast.Name):
                entries.append(Entry(module, target.id, node))
    return [entry for entry in entries if not entry.name.startswith("_")]


def render_entry(entry: Entry) -> Iterator[str]:
    """Render an entry as Markdown lines: import, signature, docstring and methods."""
    yield f"### {entry.name} ({entry.kind})"
    yield ""
    yield f"    from {entry.module} import {entry.name}"
    yield ""
    source_lines = _read_source(entry.module).splitlines()
    if isinstance(entry.node, ast.Assign | ast.AnnAssign):
        yield from _render_code(_extract_statement(entry.node, source_lines))
        return
    yield from _render_code(render_signature(entry.node, source_lines))
    yield from render_docstring(ast.get_docstring(entry.node) or "")
    if isinstance(entry.node, ast.ClassDef):
        yield from _render_members(entry.node, source_lines)


def render_signature(node: ast.ClassDef | ast.FunctionDef, source_lines: list[str]) -> list[str]:
    """Render the signature of a function, or the public fields of a class, as in a stub file."""
    decorators = [f"@{ast.unparse(decorator)}" for decorator in node.decorator_list]
    header = _extract_lines(source_lines, node.lineno, node.body[0].lineno - 1)
    if isinstance(node, ast.FunctionDef):
        return [*decorators, *header[:-1], f"{header[-1]} ..."]
    fields = [line for part in list_fields(node) for line in _extract_statement(part, source_lines)]
    for method in _list_functions(node):
        if method.name in {"__init__", "__call__"}:
            fields += render_signature(method, source_lines)
    if not fields:
        header = [*header[:-1], f"{header[-1]} ..."]
    return [*decorators, *header, *textwrap.indent("\n".join(fields), " " * 4).splitlines()]


def list_fields(node: ast.ClassDef) -> list[ast.Assign | ast.AnnAssign]:
    """List the public fields of a class."""
    fields = [part for part in node.body if isinstance(part, ast.Assign | ast.AnnAssign)]
    return [part for part in fields if not ast.unparse(part).startswith("_")]


def render_docstring(docstring: str) -> Iterator[str]:
    """Render a docstring as Markdown lines, with a list for each section such as `Args`."""
    sections = split_sections(docstring)
    yield from ["", sections.pop("")]
    for title, body in sections.items():
        yield from ["", f"**{title}**", ""]
        if title == "Example":
            yield _render_example(body)
        elif title in {"Returns", "Yields"}:
            yield body
        else:
            yield from (f"- `{name}`: {text}" for name, text in split_names(body).items())


def split_sections(docstring: str) -> dict[str, str]:
    """Return the text of each section by title, such as `Args`; the first section has no title."""
    first_text, *titles_and_bodies = _SECTION.split(inspect.cleandoc(docstring) + "\n")
    bodies = [textwrap.dedent(body).strip("\n") for body in titles_and_bodies[1::2]]
    sections = zip(titles_and_bodies[::2], bodies, strict=True)
    return {"": first_text.strip("\n"), **dict(sections)}


def split_names(body: str) -> dict[str, str]:
    """Return the text for each name in the body of a section, for example for each argument."""
    _, *names_and_texts = _ENTRY.split(body)
    texts = [" ".join(text.split()) for text in names_and_texts[1::2]]
    return dict(zip(names_and_texts[::2], texts, strict=True))


def _render_members(node: ast.ClassDef, source_lines: list[str]) -> Iterator[str]:
    """Render the public properties of a class as a list, then each public method."""
    functions = [item for item in _list_functions(node) if not item.name.startswith("_")]
    properties = [item for item in functions if is_property(item)]
    if properties:
        yield from ["", "**Properties**", ""]
    for item in properties:
        type_name = ast.unparse(item.returns) if item.returns else ""
        text = " ".join((ast.get_docstring(item) or "").split())
        yield f"- `{item.name}` (`{type_name}`): {text}"
    for item in functions:
        if item not in properties:
            yield from ["", f"#### {node.name}.{item.name}", ""]
            yield from _render_code(render_signature(item, source_lines))
            yield from render_docstring(ast.get_docstring(item) or "")


def is_property(node: ast.FunctionDef) -> bool:
    """Return whether a method is a property."""
    return any(ast.unparse(one) in {"property", "cached_property"} for one in node.decorator_list)


def _list_functions(node: ast.ClassDef) -> list[ast.FunctionDef]:
    return [part for part in node.body if isinstance(part, ast.FunctionDef)]


def _render_example(body: str) -> str:
    """Render the section `Example` as Markdown, with fenced code for each indented block."""
    return LITERAL_BLOCK.sub(
        lambda match: f":\n\n```python\n{textwrap.dedent(match[1]).rstrip()}\n```\n\n",
        body + "\n",
    ).strip("\n")


def _render_code(lines: list[str]) -> list[str]:
    return ["```python", *(_LINTER_COMMENT.sub("", line) for line in lines), "```"]


def _extract_statement(node: ast.stmt, source_lines: list[str]) -> list[str]:
    """Return the source lines of a statement; at module level with the comment lines above."""
    first_line = node.lineno
    while source_lines[first_line - 2].startswith("#"):
        first_line -= 1
    return _extract_lines(source_lines, first_line, node.end_lineno or node.lineno)


def _extract_lines(source_lines: list[str], first_line: int, last_line: int) -> list[str]:
    return textwrap.dedent("\n".join(source_lines[first_line - 1 : last_line])).splitlines()


@cache
def _read_source(module: str) -> str:
    return locate_module(module).read_text(encoding="utf-8")


def locate_module(dotted_name: str) -> Path:
    """Return the path for a module name such as `migqual.errors`; the file may not exist."""
    return LIBRARY.joinpath(*dotted_name.split(".")).with_suffix(".py")


if __name__ == "__main__":
    main()
