"""Start pytest for `migqual run`, and end pytest when migqual is interrupted."""

import argparse
import os
import re
import signal
import subprocess
import sys
from contextlib import suppress

from migqual import paths
from migqual.commands import lab as lab_command
from migqual.commands._run_target import RunTarget
from migqual.commands.lab import print_progress
from migqual.errors import UsageError
from migqual.inventory.file import load_inventory
from migqual.model.lane_assignment import list_worker_groups
from migqual.report import report_folder

CLEANUP_SECONDS = 120.0
USAGE_ERROR_STATUS = 4  # pytest's exit code for wrong arguments
PYTEST_ERROR = re.compile(r"^(?:ERROR|\S+: error): (?!usage:)(.+)$", re.MULTILINE)
HOST_TEST_MARKERS = "not selftest and not observer_check"
OBSERVER_CHECK_MARKERS = "not selftest and not slow"
TESTS_THAT_BUILD_LABS = (  # a lab cannot be built inside a lab
    "suites/integration/test_lab_lifecycle.py",
    "suites/integration/test_killed_runs.py",
)


def check_pytest_arguments(pytest_arguments: list[str]) -> None:
    """Check the options and paths for pytest before a lab is built.

    A pytest process parses the arguments and collects no tests. Test ids are not checked:
    test ids contain the ids of pairs, and no inventory is loaded yet.

    Raises:
        UsageError: pytest refuses the arguments. The error contains the message of pytest.
    """
    test_paths = [argument.partition("::")[0] for argument in pytest_arguments]
    result = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "--collect-only",
            "--quiet",
            "--ignore-glob=*",
            *test_paths,
        ],
        cwd=paths.ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if result.returncode == USAGE_ERROR_STATUS:
        output = result.stdout + result.stderr
        error_match = PYTEST_ERROR.search(output)
        raise UsageError(
            f"pytest: {error_match[1] if error_match else output.strip()}",
            remedy="`.venv/bin/pytest --help` lists the arguments of pytest",
        )


def run_suites(arguments: argparse.Namespace, target: RunTarget) -> int:
    """Run the suites with pytest on the hosts in `target`, and return the exit status of pytest.

    pytest runs in a session (setsid) of its own: Ctrl-C reaches only migqual, and migqual then
    terminates pytest.
    """
    command = [
        sys.executable,
        "-m",
        "pytest",
        *_build_pytest_options(arguments, target),
        *arguments.pytest,
    ]
    environment = dict(os.environ)
    if target.lab is not None:
        command = lab_command.build_namespace_command(target.lab, command)
        environment = lab_command.build_environment(target.lab)
    process = subprocess.Popen(
        ["setpriv", "--pdeathsig", "TERM", *command],
        cwd=paths.ROOT,
        env=environment,
        start_new_session=True,
    )
    try:
        return process.wait()
    except KeyboardInterrupt:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        print_progress("the run ends when pytest has removed all guests and files from the hosts")
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(CLEANUP_SECONDS)
        raise
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _build_pytest_options(arguments: argparse.Namespace, target: RunTarget) -> list[str]:
    worker_count = len(list_worker_groups(load_inventory(target.inventory)))
    marker_expression = OBSERVER_CHECK_MARKERS if arguments.observer_checks else HOST_TEST_MARKERS
    options = [
        f"--inventory={target.inventory}",
        "-m",
        marker_expression,
        *(f"--ignore={file}" for file in TESTS_THAT_BUILD_LABS),
    ]
    options += report_folder.build_pytest_arguments(arguments.out.absolute())
    if arguments.observer_checks or (arguments.smoke and target.lab is not None):
        options.append("--spread")
    if arguments.profile:
        options.append(f"--profile={arguments.profile}")
    if arguments.deadline is not None:
        options.append(f"--deadline={arguments.deadline}")
    if arguments.smoke:
        options.append("--smoke")
        if target.lab is None:
            return options
    if worker_count > 1 and not arguments.serial:
        options += ["-n", str(worker_count), "--dist", "loadgroup"]
    return options
