"""`migqual preflight GUEST DESTINATION`: check a guest and both hosts before a migration."""

import argparse
import json
from collections.abc import Sequence
from textwrap import fill

from migqual.commands import _common_arguments as common_arguments
from migqual.commands._error_exit import run_and_report_errors
from migqual.model.finding import Finding, Severity
from migqual.model.plan import Control, Plan, StorageCopy
from migqual.preflight.run import run_preflight_checks

_LINE_WIDTH = 100
_FAILING_VERDICTS = {Severity.REFUSED, Severity.UNKNOWN}


def register(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command `preflight`. The handler `run` returns the exit code."""
    parser = subparsers.add_parser(
        "preflight",
        description="Checks a guest and both hosts before a migration. Exit code 0 if every "
        "finding is ok or a warning; 1 if a finding is refused or unknown, or if the checks end "
        "with an error; 2 on bad input.",
    )
    common_arguments.add_migration_arguments(parser)
    parser.add_argument(
        "--control",
        choices=[str(control) for control in Control],
        default=str(Control.PEER_TO_PEER),
        help="program that drives the migration: libvirt of the source (p2p), or migqual on this "
        "machine (direct) (default: %(default)s)",
    )
    parser.add_argument(
        "--copy-storage",
        choices=[str(storage_copy) for storage_copy in StorageCopy],
        default=str(StorageCopy.NONE),
        help="disks that the migration copies: no disk (none), each disk as a whole (all), or each "
        "disk without its backing file (inc) (default: %(default)s)",
    )
    parser.add_argument("--json", action="store_true", help="print the findings as JSON")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Run all preflight checks and print the findings.

    Returns:
        The exit code: 0 when all findings are ok or warnings; 1 when a finding is refused or
        unknown, or when no check was possible; 2 on bad input.
    """
    return run_and_report_errors("preflight", lambda: _print_findings(arguments))


def _print_findings(arguments: argparse.Namespace) -> int:
    findings = _collect_findings(arguments)
    print_findings(findings, as_json=arguments.json)
    return 1 if any(finding.severity in _FAILING_VERDICTS for finding in findings) else 0


def print_findings(findings: Sequence[Finding], *, as_json: bool) -> None:
    """Print findings (results of checks) as a table or as JSON."""
    print(render_findings_json(findings) if as_json else render_findings_table(findings))


def render_findings_json(findings: Sequence[Finding]) -> str:
    """Render the findings as a JSON list of objects: id, severity, message, remedy, figures."""
    keys = ("id", "severity", "message", "remedy")
    objects = [
        {key: getattr(finding, key) for key in keys} | {"figures": dict(finding.figures)}
        for finding in findings
    ]
    return json.dumps(objects, indent=2)


def render_findings_table(findings: Sequence[Finding]) -> str:
    """Render the messages and remedies of all findings, and the number of findings by severity."""
    id_width = max(len(finding.id) for finding in findings)
    lines = []
    for finding in findings:
        prefix = f"{finding.severity:<8} {finding.id:<{id_width}}  "
        indent = " " * len(prefix)
        lines.append(
            fill(finding.message, _LINE_WIDTH, initial_indent=prefix, subsequent_indent=indent)
        )
        if finding.remedy:
            remedy_prefix = f"{indent}-> "
            lines.append(
                fill(
                    finding.remedy,
                    _LINE_WIDTH,
                    initial_indent=remedy_prefix,
                    subsequent_indent=f"{indent}   ",
                )
            )
    counts = {
        severity: sum(finding.severity is severity for finding in findings) for severity in Severity
    }
    summary = ", ".join(f"{count} {kind}" for kind, count in counts.items() if count)
    return "\n".join([*lines, summary])


def _collect_findings(arguments: argparse.Namespace) -> tuple[Finding, ...]:
    plan = Plan(
        control=Control(arguments.control), copy_storage=StorageCopy(arguments.copy_storage)
    )
    with common_arguments.open_migration_request(arguments, plan) as (request, probe_context):
        return run_preflight_checks(
            request.guest, request.source, request.destination, probe_context, plan
        )
