"""Print the error of a command, and choose the exit code."""

import sys
from collections.abc import Callable

from migqual.errors import MigqualError, UsageError


def run_and_report_errors(command: str, action: Callable[[], int]) -> int:
    """Run a command; if the command fails, print the error on standard error.

    Args:
        command: Name of the command, for the message.
        action: Runs the command and returns the exit code.

    Returns:
        The exit code of `action`. The exit code is 2 after a `UsageError`, and 1 after any other
        `MigqualError`.
    """
    try:
        return action()
    except MigqualError as error:
        print(f"migqual {command}: {error}", file=sys.stderr)
        return 2 if isinstance(error, UsageError) else 1
