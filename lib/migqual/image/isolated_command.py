"""Run build commands in new namespaces, so that a killed build leaves no process or mount."""

import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from migqual.errors import LabError

LAST_LINE_COUNT = 12
_ISOLATION_TOOLS = ("setpriv", "unshare")
# If the parent dies before `setpriv` or `unshare` has requested the signal, the kernel sends no
# signal. So the new process reports that it is ready. The command starts only after the parent has
# answered. The shell is bash, because dash accepts only file descriptors of one digit.
_WAIT_FOR_PARENT_SCRIPT = 'echo >&"$1"; read -r _ <&"$2" || exit 1; shift 2; exec "$@"'


def run_isolated(
    argv: Sequence[str | Path], *, subject: str, remedy: str, stdin: bytes = b""
) -> bytes:
    """Run a command in new mount and PID namespaces, and return the standard output.

    When the calling process dies, even by SIGKILL, the kernel kills all processes of the command
    and removes the mounts of the command.

    Args:
        argv: Program and arguments.
        subject: First words of error messages, for example `root file system bookworm`.
        remedy: Remedy in the `LabError`.
        stdin: Bytes for the standard input.

    Raises:
        LabError: A tool is not installed, or the exit status is not 0. The message contains
            `subject` and the last lines of the output.
    """
    arguments = [str(argument) for argument in argv]
    for tool in (*_ISOLATION_TOOLS, arguments[0]):
        if shutil.which(tool) is None:
            raise LabError(f"{subject}: {tool} is not installed", remedy=remedy)
    result = _run_with_living_parent(arguments, stdin)
    if result.returncode:
        raise LabError(
            f"{subject}: {arguments[0]} ended with exit status {result.returncode}\n"
            f"{format_last_lines(result.stderr or result.stdout)}",
            remedy=remedy,
        )
    return result.stdout


def _run_with_living_parent(
    arguments: Sequence[str], stdin: bytes
) -> subprocess.CompletedProcess[bytes]:
    ready_read, ready_write = os.pipe()
    go_read, go_write = os.pipe()
    with subprocess.Popen(
        [*build_isolation_command(ready_write, go_read), *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        pass_fds=(ready_write, go_read),
        env={**os.environ, "LC_ALL": "C"},
    ) as process:
        os.close(ready_write)
        os.close(go_read)
        try:
            if os.read(ready_read, 1):
                os.write(go_write, b"\n")
        finally:
            os.close(ready_read)
            os.close(go_write)
        stdout, stderr = process.communicate(stdin)
    return subprocess.CompletedProcess(arguments, process.returncode, stdout, stderr)


def build_isolation_command(ready_fd: int, go_fd: int) -> list[str]:
    """Build the first part of a command line that runs a program in new mount and PID namespaces.

    The caller appends the program and its arguments. The kernel kills the program when the parent
    process dies. Before the program starts, the new process writes a line to the parent and waits
    for an answer.

    Args:
        ready_fd: Inherited file descriptor, to which the new process writes the line.
        go_fd: Inherited file descriptor, from which the new process reads the answer. If the
            parent closes the pipe without an answer, the program does not start.
    """
    return [
        *("setpriv", "--pdeathsig", "KILL"),
        *("unshare", "--mount", "--propagation", "private", "--pid", "--fork", "--kill-child"),
        *("bash", "-c", _WAIT_FOR_PARENT_SCRIPT, "bash", str(ready_fd), str(go_fd)),
    ]


def run_in_rootfs(
    rootfs: Path,
    argv: Sequence[str | Path],
    *,
    subject: str,
    bind_mounts: dict[Path, str] | None = None,
) -> bytes:
    """Run a command in a root file system with chroot, and return the standard output.

    Only the command sees the bind mounts.

    Args:
        rootfs: Root folder of the command.
        argv: Program and arguments.
        subject: First words of error messages, for example `the cloud image`.
        bind_mounts: Folders on the machine, each with its mount point in the rootfs. The
            function creates a missing mount point.

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
