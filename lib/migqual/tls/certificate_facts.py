"""Collect facts about the certificates of a host. The functions never read private keys."""

from collections.abc import Mapping
from dataclasses import dataclass

from migqual.hosts.host import Host
from migqual.tls.certificate_authority import (
    CA_CERT,
    CLIENT_CERT,
    CLIENT_KEY,
    SERVER_CERT,
    SERVER_KEY,
)
from migqual.tls.host_settings import QemuUser, find_qemu_user, read_tls_settings
from migqual.tls.qemu_conf import TlsSettings

REQUIRED_FILES = (CA_CERT, SERVER_CERT, SERVER_KEY, CLIENT_CERT, CLIENT_KEY)
CERTIFICATE_FILES = (CA_CERT, SERVER_CERT, CLIENT_CERT)
_LIST_FILES_SCRIPT = 'cd -- "$1" 2>/dev/null && stat -L -c "%n %a %u" -- *.pem 2>/dev/null || true'
# The mode of a file is not sufficient: QEMU's user also needs access to all parent folders. So the
# script tests the access as QEMU's user.
_LIST_UNREADABLE_SCRIPT = """\
folder=$1 user=$2 group=$3
shift 3
for name; do
    setpriv --reuid "$user" --regid "$group" --clear-groups test -r "$folder/$name" || echo "$name"
done"""


@dataclass(frozen=True)
class CertificateFacts:
    """Facts about the certificates of a host.

    Attributes:
        host: Name of the host.
        settings: TLS settings of the host.
        qemu_user: User and group of QEMU.
        migration_endpoint: Address for migrations to the host. The server certificate must
            contain the address.
        file_permissions: Mode and user id of the owner, by file name.
        unreadable_files: Names of the files that the user of QEMU cannot read.
        certificates: Certificates as PEM, by file name.
    """

    host: str
    settings: TlsSettings
    qemu_user: QemuUser
    migration_endpoint: str
    file_permissions: Mapping[str, tuple[int, int]]
    unreadable_files: tuple[str, ...]
    certificates: Mapping[str, bytes]


def collect_certificate_facts(host: Host) -> CertificateFacts:
    """Collect the facts about the certificates of a host, without a change on the host.

    Raises:
        HostError: The user or the group of QEMU does not exist on the host.
    """
    tls_settings = read_tls_settings(host)
    owner = find_qemu_user(host, tls_settings)
    listing = host.shell.run(
        "sh", "-c", _LIST_FILES_SCRIPT, "sh", str(tls_settings.certificate_folder)
    ).stdout.splitlines()
    rows = [line.rsplit(" ", 2) for line in listing]
    files = {name: (int(mode, 8), int(uid)) for name, mode, uid in rows}
    present_files = [name for name in REQUIRED_FILES if name in files]
    script_arguments = (str(tls_settings.certificate_folder), str(owner.uid), str(owner.gid))
    unreadable = host.shell.run(
        "sh", "-c", _LIST_UNREADABLE_SCRIPT, "sh", *script_arguments, *present_files
    ).stdout.split()
    return CertificateFacts(
        host=host.name,
        settings=tls_settings,
        qemu_user=owner,
        migration_endpoint=host.entry.migration_endpoint,
        file_permissions=files,
        unreadable_files=tuple(unreadable),
        certificates={
            name: host.shell.read_file(tls_settings.certificate_folder / name)
            for name in CERTIFICATE_FILES
            if name in files
        },
    )
