"""`migqual run`: run the suites on a lab or on the hosts of an inventory; print the verdict."""

import argparse
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from migqual import paths
from migqual.commands import lab as lab_command
from migqual.commands._pytest_process import check_pytest_arguments, run_suites
from migqual.commands._run_target import Cleanup, RunTarget, open_target, sweep_afterwards
from migqual.commands.lab import print_progress
from migqual.errors import TroubleError, UsageError
from migqual.image.cloud_image import ensure_cloud_image
from migqual.inventory.entities import Inventory
from migqual.inventory.file import load_inventory
from migqual.inventory.guest_size import GuestSize
from migqual.lab import foreign_objects, lifecycle, state
from migqual.lab.layout import check_lab_name
from migqual.model.finding import Severity
from migqual.model.profile import choose_profile_name, list_profile_names, load_profile
from migqual.model.sized_guest import list_guest_sizes
from migqual.readiness import inventory_check
from migqual.report import record_files, report_folder, smoke_summary, terminal_summary
from migqual.report.qualification import judge_pairs, judge_run

if TYPE_CHECKING:
    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]  # noqa: SLF001 - has no other name

NORMAL_EXIT_STATUSES = {0, 1}  # of pytest: all tests passed; some tests did not pass
MAX_LANES = 16  # the highest number of tests that can run at once, each with guest addresses


def register(subparsers: "Subparsers") -> None:
    """Add the command `run`."""
    parser = subparsers.add_parser(
        "run",
        usage="migqual run [--topology NAME|FILE | --inventory FILE] [options] [-- PYTEST ...]",
        description="Runs the suites on a lab or on your own hosts, and prints the verdict. "
        "migqual passes all other arguments to pytest, for example -k tls, a file or a test id. "
        "Exit code 0: every pair qualifies under the profile. 1: a pair does not qualify. 2: bad "
        "input. 3: the lab or a host is broken. 4: nothing failed, but results are missing or "
        "inconclusive. With --smoke, 0 if every tested requirement passes, else 1. With "
        "--observer-checks, 0 if every test passes, else 1.",
        allow_abbrev=False,
    )
    host_options = parser.add_mutually_exclusive_group()
    host_options.add_argument(
        "--inventory",
        type=Path,
        metavar="FILE",
        help="test the hosts of this inventory; build no lab",
    )
    host_options.add_argument(
        "--topology",
        metavar="NAME|FILE",
        help="name or file of the topology of the lab; migqual builds the lab if no lab is up",
    )
    lab_command.add_lanes_option(parser, default=min(MAX_LANES, len(os.sched_getaffinity(0))))
    lab_command.add_guest_option(parser)
    parser.add_argument(
        "--profile",
        metavar="NAME|FILE",
        help="profile with the demands on the hosts (default: the profile `lab` for a lab, the "
        "profile `upstream` for your own hosts)",
    )
    parser.add_argument(
        "--name", default=lab_command.DEFAULT_LAB_NAME, help="name of the lab (default: lab)"
    )
    _add_session_options(parser)
    _add_mode_options(parser)
    parser.set_defaults(run=run, pytest=[])


def _add_session_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--keep", action="store_true", help="keep the lab up after the run")
    parser.add_argument("--serial", action="store_true", help="test the pairs one after the other")
    parser.add_argument(
        "--out",
        type=Path,
        default=paths.DEFAULT_OUTPUT,
        metavar="DIR",
        help="folder for records and reports (default: %(default)s)",
    )
    parser.add_argument(
        "--deadline",
        type=float,
        metavar="MINUTES",
        help="start no test later than MINUTES after the start of pytest; a run with tests that "
        "did not start does not qualify",
    )


def _add_mode_options(parser: argparse.ArgumentParser) -> None:
    mode_options = parser.add_mutually_exclusive_group()
    mode_options.add_argument(
        "--observer-checks",
        action="store_true",
        help="test the suites instead of the hosts: also run the tests that inject faults, run "
        "each test on one pair only, omit the slow tests, and require that every test passes",
    )
    mode_options.add_argument(
        "--smoke",
        action="store_true",
        help="run only the shortest test of each requirement, on the first pair (in a lab on any "
        "pair). This shows in minutes which requirements pass, and qualifies no pair",
    )


def run(arguments: argparse.Namespace) -> int:
    """Run the suites on a lab or on the hosts of an inventory, and print the verdict.

    Returns:
        The exit code: 0 when every pair qualifies, 1 when a pair does not qualify, and 4 when
        nothing failed, but results are missing or inconclusive.
        With --smoke: 0 when every tested requirement has an accepted verdict, else 1. `pass` is
        always accepted. `unsupported` is accepted for an optional or absent requirement.
        With --observer-checks: 0 when all tests pass, else 1.

    Raises:
        UsageError: An argument is wrong, or pytest selected no test.
        TroubleError: The lab cannot be built, a host is not ready, objects of a run could not be
            removed, or pytest ended abnormally.
    """
    inventory = _verify_arguments(arguments)
    with report_folder.lock_report_folder(arguments.out):  # later, the pytest session locks it
        report_folder.clear_report_folder(arguments.out, include_pytest_files=True)
        if inventory is not None:
            # a guest that a killed run left still uses its address
            Cleanup([arguments.inventory]).sweep()
            profile = load_profile(choose_profile_name(arguments.profile, inventory.tier))
            _check_hosts(inventory, list_guest_sizes(inventory, profile))
    with sweep_afterwards() as cleanup, open_target(arguments) as target:
        cleanup.inventories.append(target.inventory)
        if arguments.observer_checks and target.lab is not None:
            # the build of the image needs package mirrors, and the lab has no route to a mirror
            ensure_cloud_image(paths.get_cache_folder(), report_progress=print_progress)
        with _watch_foreign_objects(target) as changed_objects:
            status = run_suites(arguments, target)
    exit_code = _print_verdict(arguments, status)
    if not cleanup.is_complete:
        raise TroubleError(
            "objects of this run or of an earlier run are still on the hosts",
            remedy="`migqual sweep --dry-run` lists them, and `migqual sweep` removes them",
        )
    return exit_code or (1 if changed_objects else 0)


@contextmanager
def _watch_foreign_objects(target: RunTarget) -> Iterator[list[str]]:
    """Watch the foreign objects on lab hosts; after the block, print each changed object.

    A foreign object is a guest or a file that migqual did not create.

    Yields:
        A list for the names of the changed objects. The function fills the list at the end of the
        block. Without a lab, the list stays empty.
    """
    changed_objects: list[str] = []
    if target.lab is None:
        yield changed_objects
        return
    foreign_objects.wait_for_foreign_guests(target.lab)
    states_before = foreign_objects.read_foreign_objects(target.lab)
    yield changed_objects
    states_after = foreign_objects.read_foreign_objects(target.lab)
    changed_objects += foreign_objects.find_changed_objects(states_before, states_after)
    for name in changed_objects:
        print_progress(f"the run changed an object that migqual did not create: {name}")


def _verify_arguments(arguments: argparse.Namespace) -> Inventory | None:
    """Check all arguments before a lab is built and before an older report is cleared.

    Returns:
        The inventory of --inventory, or None if the user did not give this option.
    """
    check_lab_name(arguments.name)
    if arguments.pytest:
        check_pytest_arguments(arguments.pytest)
    if arguments.profile:
        load_profile(arguments.profile)
        if arguments.profile not in list_profile_names():
            # pytest runs in another working directory
            arguments.profile = Path(arguments.profile).absolute()
    if arguments.inventory is not None:
        if arguments.guest is not None:
            raise UsageError(
                "--guest is only for a lab; the inventory sets the architecture of the guests",
                remedy=f"write `migqual_guest_architecture: {arguments.guest}` in all.vars of the "
                "inventory",
            )
        return load_inventory(arguments.inventory)
    if (
        arguments.topology is not None
        or arguments.guest is not None
        or state.detect_lab_phase(arguments.name) is not state.LabPhase.UP
    ):
        source = arguments.topology or lab_command.DEFAULT_TOPOLOGY
        lifecycle.check_start_conditions(
            lab_command.read_topology(source, arguments.lanes, arguments.guest), arguments.name
        )
    return None


def _check_hosts(inventory: Inventory, guest_sizes: Sequence[GuestSize]) -> None:
    """Run the checks of `migqual inventory check`, and print the findings that need attention.

    Raises:
        TroubleError: A check refuses a host.
    """
    findings = inventory_check.check_inventory_hosts(inventory, guest_sizes)
    for finding in findings:
        if finding.severity in {Severity.WARNING, Severity.UNKNOWN}:
            print_progress(f"{finding.id}: {finding.severity}: {finding.message}")
    refused = [finding for finding in findings if finding.severity is Severity.REFUSED]
    if refused:
        messages = "; ".join(f"{finding.id}: {finding.message}" for finding in refused)
        raise TroubleError(
            f"the hosts are not ready, so no test ran: {messages}",
            remedy=f"run `migqual inventory check {inventory.file}`, which prints each remedy",
        )


def _print_verdict(arguments: argparse.Namespace, status: int) -> int:
    """Write the report, print the summary, and return the exit code of `migqual run`."""
    if not record_files.list_record_files(arguments.out / record_files.RECORDS_FOLDER):
        raise UsageError(
            f"pytest ended with exit status {status} before it selected a test",
            remedy="read the output of pytest above",
        )
    run_record, records = report_folder.publish_report([arguments.out], arguments.out)
    index = arguments.out / report_folder.INDEX_FILE
    if arguments.smoke and status in NORMAL_EXIT_STATUSES:
        print("\n".join(smoke_summary.render_smoke_summary(run_record, records, index)))
        return 0 if smoke_summary.is_smoke_passed(run_record, records) else 1
    lines = list(terminal_summary.render_verdict_summary(run_record, records, index))
    summary_lines = (
        lines[-2:] if arguments.observer_checks else lines[-3:]
    )  # --observer-checks spreads the tests over the pairs, so there is no verdict on a pair
    print("\n".join(summary_lines if status in NORMAL_EXIT_STATUSES else lines))
    if status not in NORMAL_EXIT_STATUSES:
        raise TroubleError(
            f"pytest did not end normally: exit status {status}",
            remedy="read the output of pytest above",
        )
    if arguments.observer_checks:
        print_progress(
            "at least one test did not pass" if status else "every test passed, each on one pair"
        )
        return 1 if status else 0
    return judge_run(judge_pairs(run_record, records)).exit_code
