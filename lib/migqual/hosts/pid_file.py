"""Stop a daemon by its pid file, and never another process.

A number in a file on disk may belong to another process after a restart of the host. The command
line of a daemon that migqual starts contains the path of the pid file.
"""

from pathlib import PurePosixPath

# tail waits for the end of the process; the daemon may need a moment to close its images.
_STOP_SCRIPT = """\
pid=$(cat -- "$1" 2>/dev/null) && grep -qsF -e "$1" "/proc/$pid/cmdline" && kill "$pid" &&
    timeout 5 tail -s 0.05 --pid="$pid" -f /dev/null
rm -f -- "$1"
"""


def build_stop_command(pid_file: PurePosixPath | str) -> tuple[str, ...]:
    """Build a command that ends a daemon, waits for its end, and removes its pid file.

    The command does nothing to a process whose command line does not contain the path of the pid
    file, and only removes the file then.

    Args:
        pid_file: Path of the pid file on the host. The daemon has the path as an argument.
    """
    return ("sh", "-c", _STOP_SCRIPT, "sh", str(pid_file))
