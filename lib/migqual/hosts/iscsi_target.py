"""Create and remove iSCSI targets of tgt on a storage server, for certain initiators only."""

from collections.abc import Sequence
from pathlib import PurePosixPath

from migqual.errors import HostError
from migqual.hosts.host import Host
from migqual.hosts.journal import Journal, JournalEntry

_TGTADM = ("tgtadm", "--lld", "iscsi")
_MAX_ATTEMPTS = 200
# The journal entry is written before the target gets a number (tid). The script therefore finds
# the target by name.
_DELETE_TARGET = (
    'tgtadm --lld iscsi --mode target --op show | awk -v name="$1" '
    '\'/^Target/ && $3 == name {sub(":", "", $2); print $2}\' | '
    "xargs -r -n1 tgtadm --lld iscsi --mode target --op delete --force --tid"
)
# Prints the address from which the host sends to the server $1.
_SOURCE_ADDRESS_SCRIPT = (
    'address=$(getent ahosts "$1" | awk "{print \\$1; exit}"); '
    "ip -o route get \"$address\" | sed -n 's/.* src \\([^ ]*\\).*/\\1/p'"
)


def create_target(
    journal: Journal, server: Host, target: str, image: PurePosixPath, initiators: Sequence[str]
) -> JournalEntry:
    """Create a target with an image as LUN 1.

    Args:
        journal: Journal, to which the function adds the target before the creation.
        server: Host on which tgtd runs.
        target: Name of the target (IQN).
        image: Path of the image on the server.
        initiators: IP addresses of the hosts that may log in. All other hosts are refused.

    Returns:
        The journal entry, whose undo command removes the target.

    Raises:
        HostError: tgtadm fails, or migqual finds no free number (tid) for the target.
    """
    first_number = 1 + sum(target.encode()) * 31 % 20000
    entry = journal.record(
        server.name, "iscsi target", target, [("sh", "-c", _DELETE_TARGET, "sh", target)]
    )
    for target_number in range(first_number, first_number + _MAX_ATTEMPTS):
        tid_option = ("--tid", str(target_number))
        result = server.shell.run_unchecked(
            *_TGTADM, "--mode", "target", "--op", "new", *tid_option, "-T", target
        )
        if result.status == 0:
            break
        if "already exists" not in result.stderr:
            journal.record_removal(entry)
            raise HostError(
                server.name, f"cannot create the iSCSI target {target}: {result.stderr.strip()}"
            )
    else:
        journal.record_removal(entry)
        raise HostError(
            server.name,
            f"no free target id (tid) for the iSCSI target {target}",
            remedy="list the targets with `tgtadm --lld iscsi --mode target --op show`, and remove "
            "the targets that nobody uses",
        )
    lun_arguments = ("--mode", "logicalunit", "--op", "new", "--lun", "1", "-b", str(image))
    server.shell.run(*_TGTADM, *lun_arguments, *tid_option)
    for address in initiators:
        bind_arguments = ("--mode", "target", "--op", "bind", *tid_option, "-I", address)
        server.shell.run(*_TGTADM, *bind_arguments)
    return entry


def query_initiator_address(host: Host, server_address: str) -> str:
    """Query the IP address from which a host connects to a storage server.

    Raises:
        HostError: The host has no route to the server.
    """
    result = host.shell.run("sh", "-c", _SOURCE_ADDRESS_SCRIPT, "sh", server_address)
    address = result.stdout.strip()
    if not address:
        raise HostError(
            host.name,
            f"no route to the storage server {server_address}",
            remedy=f"connect {host.name} to the network of the server, or correct `address` of the "
            "store",
        )
    return address
