"""Stop a daemon by its pid file, and never another process.

A pid file stays on the disk when the host restarts. The process id in the file may then belong to
another process. The command line of a daemon that migqual starts contains the path of the pid file.
The stop command therefore checks the command line of the process first.
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

    The command ends the process only if the command line of the process contains the path of the
    pid file. Otherwise the command only removes the file.

    Args:
        pid_file: Path of the pid file on the host. The daemon has the path as an argument.
    """
    return ("sh", "-c", _STOP_SCRIPT, "sh", str(pid_file))
