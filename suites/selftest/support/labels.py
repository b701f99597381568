"""List the words that users see: labels of reports and summaries, steps, metrics, options."""

import argparse
import ast
import configparser
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from migqual import cli, paths
from migqual.model.job_stats import JobStats
from migqual.model.metrics import compute_metrics
from migqual.model.outcome import DiskSample, GapReport, JobSample, MigrationStatus, Outcome
from migqual.model.plan import Plan
from migqual.report.charts import CHART_DEFINITIONS, ENCRYPTION_CHART_DEFINITIONS
from migqual.report.html_report import TEMPLATES
from migqual.step_times import WAIT_FOR_MACHINE

SOURCE_FOLDERS = (paths.ROOT / "lib", paths.FIXTURES)
SUMMARY_MODULES = ("smoke_summary.py", "terminal_summary.py", "time_summary.py")
LABEL_TAGS = "h1|h2|h3|th|dt|strong|figcaption"


def list_html_labels() -> Iterator[str]:
    """List the headings and labels of the HTML report, without the values."""
    template = (TEMPLATES / "index.html.j2").read_text(encoding="utf-8")
    for content in re.findall(
        rf'<(?:\w+ class="kicker"|(?:{LABEL_TAGS})\b[^>]*)>(.*?)</\w+>', template
    ):
        quoted_texts = (
            text
            for value in re.findall(r"{{.*?}}", content)
            for text in re.findall(r'"(.*?)"', value)
        )
        yield re.sub(r"{[{%].*?[%}]}|<.*?>", " ", content) + " ".join(quoted_texts)
    (columns,) = re.findall(
        r'<div class="columns".*?>(.*?)<span class="chips">', template, re.DOTALL
    )
    yield re.sub(r"<.*?>", " ", columns)
    (signature_line,) = re.findall(r'<div class="sign">(.*)</div>', template)
    yield re.sub(r"<.*?>", " ", signature_line)


def list_chart_labels() -> Iterator[str]:
    """List the titles, units and legends of the charts."""
    for definition in (*CHART_DEFINITIONS, *ENCRYPTION_CHART_DEFINITIONS):
        yield from (definition.title, definition.unit, *definition.metrics.values())


def list_string_literals(tree: ast.AST) -> Iterator[ast.Constant]:
    """List the string literals of a module, docstrings included."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node


def list_docstrings(tree: ast.AST) -> list[str]:
    """List the docstrings of a module, as they are in the source text."""
    definitions = ast.Module | ast.ClassDef | ast.FunctionDef
    return [
        ast.get_docstring(node, clean=False) or ""
        for node in ast.walk(tree)
        if isinstance(node, definitions)
    ]


def list_summary_labels() -> Iterator[str]:
    """List the string literals of the modules that print the summaries on the terminal.

    Docstrings and format specifications, for example `.1f`, are not in the list.
    """
    for name in SUMMARY_MODULES:
        tree = parse_file(paths.ROOT / "lib" / "migqual" / "report" / name)
        formats = {
            literal
            for node in ast.walk(tree)
            if isinstance(node, ast.FormattedValue) and node.format_spec
            for literal in list_string_literals(node.format_spec)
        }
        docstrings = list_docstrings(tree)
        for literal in list_string_literals(tree):
            if literal not in formats and literal.value not in docstrings:
                yield str(literal.value)


def list_step_names() -> Iterator[str]:
    """List the names of the steps (named parts of a test) in the source code.

    `migqual report --time-spent` prints these names.
    """
    yield WAIT_FOR_MACHINE
    for folder in SOURCE_FOLDERS:
        for file in folder.rglob("*.py"):
            for node in ast.walk(parse_file(file)):
                if isinstance(node, ast.Call) and ast.unparse(node.func) == "time_step":
                    yield from (str(one.value) for one in list_string_literals(node))


def list_metric_names() -> list[str]:
    """List the names of the metrics of a migration."""
    outcome = Outcome(
        *(Plan(), "guest", "a1", "b1", "virsh", MigrationStatus.COMPLETED, 1.0),
        disk_samples=(DiskSample(0.0, "disk", 1, 1),),
        job_samples=(JobSample(0.0, JobStats()),),
        gap_report=GapReport(0.0, (), 1, 1, 1.0, session_alive=True, session_stall_ms=0.0),
    )
    return list(compute_metrics(outcome))


def list_command_line_words() -> Iterator[str]:
    """List the names of migqual's commands, subcommands, options and arguments."""
    pending_parsers = [cli.build_parser(name) for name in cli.COMMANDS]
    while pending_parsers:
        for action in pending_parsers.pop()._actions:  # noqa: SLF001 - argparse has no other access
            if isinstance(action, argparse._SubParsersAction):  # noqa: SLF001 - likewise
                yield from action.choices
                pending_parsers.extend(action.choices.values())
            elif not isinstance(action, argparse._HelpAction):  # noqa: SLF001 - likewise
                yield from (option for option in action.option_strings if option.startswith("--"))
                yield str(action.metavar or "")


def list_marker_names() -> list[str]:
    """List the markers of pytest.ini."""
    parser = configparser.ConfigParser(interpolation=None)
    parser.read(paths.ROOT / "pytest.ini")
    return re.findall(r"^(\w+)", parser["pytest"]["markers"].strip(), re.MULTILINE)


def parse_file(file: Path) -> ast.Module:
    """Parse a source file."""
    return ast.parse(file.read_text(encoding="utf-8"))


LABEL_SOURCES: tuple[Callable[[], Iterable[str]], ...] = (
    list_html_labels,
    list_chart_labels,
    list_summary_labels,
    list_step_names,
    list_metric_names,
    list_command_line_words,
)
