"""Run build commands in separate namespaces, so no process and no mount stays behind."""

import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from migqual.errors import LabError

LAST_LINE_COUNT = 12
_ISOLATION_TOOLS = ("setpriv", "unshare")
# A parent that died before `setpriv` asked for the signal sends none.
_CHECK_PARENT_SCRIPT = '[ "$PPID" = "$1" ] || exit 1; shift; exec "$@"'


def run_isolated(
    argv: Sequence[str | Path], *, subject: str, remedy: str, stdin: bytes = b""
) -> bytes:
    """Run the command in new mount and process namespaces and return the standard output.

    When the calling process dies, even by SIGKILL, all processes of the command die, too. The
    mounts of the command disappear.

    Args:
        argv: Program and arguments.
        subject: Name of the build result, for error messages.
        remedy: Remedy in the error after a failed command.
        stdin: Bytes for the standard input.

    Raises:
        LabError: A tool is not installed, or the exit status is not 0. The message contains
            `subject` and the last lines of the output.
    """
    arguments = [str(argument) for argument in argv]
    for tool in (*_ISOLATION_TOOLS, arguments[0]):
        if shutil.which(tool) is None:
            raise LabError(f"{subject}: {tool} is not installed", remedy=remedy)
    result = subprocess.run(
        [*build_isolation_command(os.getpid()), *arguments],
        input=stdin,
        capture_output=True,
        check=False,
        env={**os.environ, "LC_ALL": "C"},
    )
    if result.returncode:
        raise LabError(
            f"{subject}: {arguments[0]} ended with status {result.returncode}\n"
            f"{format_last_lines(result.stderr or result.stdout)}",
            remedy=remedy,
        )
    return result.stdout


def build_isolation_command(parent_pid: int) -> list[str]:
    """Build the command line before a command in new namespaces.

    Args:
        parent_pid: The process whose death kills the command. If another process is the parent
            already, the command does not start.
    """
    return [
        *("setpriv", "--pdeathsig", "KILL", "sh", "-c", _CHECK_PARENT_SCRIPT, "sh"),
        *(str(parent_pid), "unshare", "--mount", "--propagation", "private"),
        *("--pid", "--fork", "--kill-child"),
    ]


def run_in_rootfs(
    rootfs: Path,
    argv: Sequence[str | Path],
    *,
    subject: str,
    bind_mounts: dict[Path, str] | None = None,
) -> bytes:
    """Run the command in the rootfs with chroot, and return the standard output.

    Only the command sees the bind mounts.

    Args:
        rootfs: Root folder for the command.
        argv: Program and arguments.
        subject: Name of the build result, for error messages.
        bind_mounts: Mount point in the rootfs by folder on the machine. A missing mount point
            is created.

    Raises:
        LabError: A tool is not installed, or a mount or the command failed.
    """
    script = (
        'set -e; tree=$1; shift; while [ "$1" != -- ]; do mount --bind "$1" "$tree$2"; shift 2;'
    )
    script += ' done; shift; exec chroot "$tree" "$@"'
    mount_arguments = [
        argument
        for host_path, mount_point in (bind_mounts or {}).items()
        for argument in (str(host_path), mount_point)
    ]
    for mount_point in (bind_mounts or {}).values():
        (rootfs / mount_point.lstrip("/")).mkdir(parents=True, exist_ok=True)
    return run_isolated(
        ["sh", "-c", script, "sh", rootfs, *mount_arguments, "--", *argv],
        subject=subject,
        remedy="run as root on a machine that allows mount namespaces and chroot",
    )


def format_last_lines(output: bytes) -> str:
    """Format the last lines of a command's output, indented for an error message."""
    lines = output.decode(errors="replace").strip().splitlines()[-LAST_LINE_COUNT:]
    return "\n".join(f"    {line}" for line in lines)
