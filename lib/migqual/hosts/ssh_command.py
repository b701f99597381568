"""Render commands for the login shell of a host, and check that the login runs commands as root."""

import shlex
from collections.abc import Sequence

import paramiko

from migqual.errors import LoginUnusable
from migqual.hosts.ssh_login import log_in
from migqual.inventory.entities import HostEntry

# A hardened host may have the umask 0077. QEMU's user could not enter folders that migqual creates
# with that umask.
_SET_UMASK = "umask 022; "
SUDO_ARGUMENTS = ("sudo", "-n", "--")
_ROOT_OUTPUT = b"0\n"
_CHECK_SECONDS = 15.0


def render_command_line(host: HostEntry, arguments: Sequence[str]) -> str:
    """Render a command line that runs the command as root, with the umask 022.

    Args:
        host: The host of the inventory, which states whether commands need ``sudo``.
        arguments: The command and the arguments, without quoting.

    Returns:
        A command line for a POSIX shell.
    """
    prefix = SUDO_ARGUMENTS if host.become else ()
    return f"{_SET_UMASK}exec {shlex.join((*prefix, *arguments))}"


def log_in_as_root(host: HostEntry, channel: paramiko.Channel | None) -> paramiko.SSHClient:
    """Log in to a host; check that commands run as root and that the login shell prints nothing.

    Any text of the login shell would become part of the output of every command, and would
    break libvirt's protocol over SSH.

    Args:
        host: The host of the inventory.
        channel: Channel through the jump hosts; None for a direct connection.

    Returns:
        The connected client.

    Raises:
        LoginUnusable: A command does not run as root, or the login shell prints text.
        OSError: The connection fails. The error can also be `paramiko.SSHException` or `EOFError`.
    """
    client = log_in(host, channel)
    try:
        _check_root_login(host, client)
    except BaseException:
        client.close()
        raise
    return client


def _check_root_login(host: HostEntry, client: paramiko.SSHClient) -> None:
    command_line = f"{render_command_line(host, ('id', '-u'))} </dev/null"
    _, stdout, stderr = client.exec_command(command_line, timeout=_CHECK_SECONDS)
    output, error_output = stdout.read(), stderr.read()
    status = stdout.channel.recv_exit_status()
    check_id_output(host, status, output, error_output.decode(errors="replace"))


def check_id_output(host: HostEntry, status: int, output: bytes, error_output: str) -> None:
    """Check that the output of ``id -u`` on a host is only `0`, the id of root.

    Args:
        host: The host of the inventory.
        status: Exit status of the command.
        output: Standard output of the command.
        error_output: Standard error of the command.

    Raises:
        LoginUnusable: The command did not run as root, or the login shell printed text.
    """
    if status == 0 and output == _ROOT_OUTPUT:
        return
    problem, remedy = _explain_unusable_login(host, output, error_output.strip())
    raise LoginUnusable(host.name, f"SSH to {host.user}@{host.address}: {problem}", remedy=remedy)


def _explain_unusable_login(host: HostEntry, output: bytes, error_output: str) -> tuple[str, str]:
    """Explain a wrong output of ``id -u``; return the problem and the remedy."""
    *extra_lines, last_line = output.decode(errors="replace").splitlines() or [""]
    if extra_lines:
        extra_bytes = len(output) - len(last_line) - 1
        return (
            f"the login shell prints {extra_bytes} bytes before each command: {extra_lines[0]!r}",
            f"remove commands that print text from {host.user}'s shell start files, e.g. ~/.bashrc",
        )
    if last_line.isdigit():
        return (
            f"commands run as the user id {last_line}, not as root",
            "log in as root, or set `ansible_become: true` in the inventory to use sudo",
        )
    last_error = error_output.splitlines()[-1] if error_output else "no output"
    if host.become:
        return (
            f"sudo does not run commands: {last_error}",
            f"install sudo, and allow {host.user} all commands without a password (NOPASSWD)",
        )
    return f"the command `id -u` fails: {last_error}", f"check the login shell of {host.user}"
