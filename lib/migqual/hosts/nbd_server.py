"""Start qemu-nbd as a daemon on a host."""

from collections.abc import Iterable
from pathlib import PurePosixPath

from migqual.errors import CommandFailed
from migqual.hosts.host import Host

# In QEMU before 6.0, the daemon qemu-nbd keeps the standard streams open. Without the redirections,
# the SSH channel would never close.
_START_SCRIPT = (
    'errors=$(mktemp) || exit; "$@" </dev/null >/dev/null 2>"$errors"; status=$?; '
    'cat -- "$errors" >&2; rm -f -- "$errors"; exit $status'
)


def start_nbd_server(
    host: Host, ports: Iterable[int], image: PurePosixPath | str, *options: str
) -> int | None:
    """Start qemu-nbd on the first free port of `ports`.

    Before the call, the caller must record the server in the journal. The command that ends the
    server comes from `pid_file.build_stop_command`.

    Args:
        host: The host with the image.
        ports: TCP ports to try, in order.
        image: Path of the image on the host.
        *options: Options of qemu-nbd, including `--pid-file`.

    Returns:
        The port of the server; None when every port is in use.

    Raises:
        CommandFailed: qemu-nbd fails for another reason than a port in use.
    """
    for port in ports:
        argv = build_nbd_server_command(port, image, *options)
        result = host.shell.run_unchecked(*argv)
        if result.status == 0:
            return port
        if "in use" not in result.stderr:
            raise CommandFailed(host.name, argv, result.status, result.stdout, result.stderr)
    return None


def build_nbd_server_command(
    port: int, image: PurePosixPath | str, *options: str
) -> tuple[str, ...]:
    """Build a command that starts qemu-nbd as a daemon and prints the errors of qemu-nbd."""
    argv = ("qemu-nbd", "--fork", *options, f"--port={port}", str(image))
    return ("sh", "-c", _START_SCRIPT, "sh", *argv)
