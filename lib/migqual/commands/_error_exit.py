"""Exit codes of commands that print their errors themselves."""

import sys
from collections.abc import Callable

from migqual.errors import MigqualError, UsageError


def run_and_report_errors(command: str, action: Callable[[], int]) -> int:
    """Run the action of a command, and print an error on standard error.

    Args:
        command: Name of the command, for the message.
        action: Runs the command and returns the exit code.

    Returns:
        The exit code of the action; 2 on bad input, 1 after any other error.
    """
    try:
        return action()
    except MigqualError as error:
        print(f"migqual {command}: {error}", file=sys.stderr)
        return 2 if isinstance(error, UsageError) else 1
