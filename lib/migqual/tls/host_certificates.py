"""Install the certificates of migqual on a host, and later restore the original state.

The original folder is moved to a backup as a whole. A copy of qemu.conf is made before a change
of qemu.conf. The journal contains the commands to restore both, before either is changed.
"""

import hashlib
import io
import re
import tarfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import PurePosixPath

from migqual.errors import HostError
from migqual.hosts import libvirt_daemon
from migqual.hosts.host import Host
from migqual.hosts.journal import Argv, Journal, JournalEntry
from migqual.hosts.volume import undo_entry
from migqual.inventory.field_types import is_ip_address
from migqual.tls import backup_scripts, qemu_conf
from migqual.tls.certificate_authority import (
    PRIVATE_KEY_FILES,
    CertificateAuthority,
    CredentialFiles,
)
from migqual.tls.host_settings import (
    QemuUser,
    find_qemu_user,
    read_qemu_conf,
    read_tls_defaults,
    read_tls_settings,
)
from migqual.tls.qemu_conf import QEMU_CONF

# An inventory may contain host names that no certificate can hold, e.g. with an underscore.
_HOST_NAME_PATTERN = re.compile(r"^[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?$")


def list_certificate_names(host: Host) -> tuple[str, ...]:
    """List the names for the certificate of a host: inventory name and migration endpoint.

    Names with characters not allowed in a certificate are left out.
    """
    names = (host.entry.name, host.entry.migration_endpoint)
    return tuple(dict.fromkeys(name for name in names if _is_certificate_name(name)))


def _is_certificate_name(name: str) -> bool:
    return is_ip_address(name) or bool(_HOST_NAME_PATTERN.match(name))


def read_tls_checksums(host: Host) -> str:
    """Read the checksums of qemu.conf and of all files in the certificate folder.

    Compare two results to detect a change.

    Returns:
        A line of `sha256sum` per file, sorted.
    """
    script = 'sha256sum -- "$1"; cd -- "$2" 2>/dev/null && find . -type f -exec sha256sum {} +'
    result = host.shell.run_unchecked(
        "sh", "-c", script, "sh", QEMU_CONF, read_tls_settings(host).certificate_folder
    )
    return "\n".join(sorted(result.stdout.splitlines()))


class HostCertificates:
    """The certificates and TLS settings of migqual on a host, in force until `restore`.

    Every backup name contains the tag of the run.

    Attributes:
        host: The host.
        original_settings: TLS settings of the host before any change.
    """

    def __init__(self, host: Host, journal: Journal, tag: str) -> None:
        self.host = host
        self.original_settings = read_tls_settings(host)
        self._journal = journal
        self._tag = tag
        self._journal_entries: list[JournalEntry] = []
        self._qemu_user = find_qemu_user(host, self.original_settings)

    @property
    def folder(self) -> PurePosixPath:
        """Return the certificate folder of the host."""
        return self.original_settings.certificate_folder

    def install(self, files: CredentialFiles) -> None:
        """Install the credential files in QEMU's certificate folder in place of the original.

        Only QEMU can read the private keys. QEMU reads the files again for every migration. So
        no daemon is restarted.

        Args:
            files: Contents by file name.

        Raises:
            HostError: Another program or person has changed the installed files, or a command
                failed.
        """
        folder = str(self.folder)
        archive = _build_archive(files, self._qemu_user, self._tag)
        undo_commands = [
            self._build_command(backup_scripts.RESTORE_FOLDER, folder),
            *self._list_parent_removal(),
        ]
        self._back_up_once("certificates", folder, undo_commands, backup_scripts.BACK_UP_FOLDER)
        self._run_script(backup_scripts.INSTALL_FOLDER, folder, stdin=archive)

    def configure(self, **values: int) -> None:
        """Set keys of qemu.conf and restart libvirt's daemon if necessary.

        A restart is necessary after a change of a setting, and after an earlier change without
        a restart.

        Args:
            **values: Value by key of qemu.conf.

        Raises:
            HostError: Another program or person has changed the written file, or a command
                failed.
        """
        # a link into a managed folder stays a link: the file behind the link is changed
        conf_path = self.host.shell.run("readlink", "-f", QEMU_CONF).stdout.strip()
        old_text, defaults = read_qemu_conf(self.host), read_tls_defaults(self.host)
        new_text = qemu_conf.update_qemu_conf(old_text, **values)
        if qemu_conf.parse_qemu_conf(old_text, defaults) != qemu_conf.parse_qemu_conf(
            new_text, defaults
        ):
            undo_commands = [
                self._build_command(
                    backup_scripts.RESTORE_FILE,
                    conf_path,
                    libvirt_daemon.find_daemon_unit(self.host),
                )
            ]
            self._back_up_once("settings", conf_path, undo_commands, backup_scripts.BACK_UP_FILE)
            self._run_script(backup_scripts.REPLACE_FILE, conf_path, stdin=new_text.encode())
        elif (
            self.host.shell.run_unchecked(
                *self._build_command(backup_scripts.IS_RESTART_PENDING, conf_path)
            ).status
            != 0
        ):
            return
        libvirt_daemon.restart_daemon(self.host)
        self._run_script(backup_scripts.CLEAR_RESTART_PENDING, conf_path)

    def restore(self) -> None:
        """Restore the state before `install` and `configure`.

        After a failure the entry stays in the journal. The other entries are restored all the
        same.

        Raises:
            HostError: The last error of an entry, after an attempt to restore every entry.
        """
        last_error: HostError | None = None
        for entry in reversed(self._journal_entries):
            try:
                undo_entry(self.host, entry)
            except HostError as error:
                last_error = error
                continue
            if entry.kind == "settings":
                self.host.libvirt.close()
            self._journal.record_removal(entry)
        self._journal_entries.clear()
        if last_error is not None:
            raise last_error

    def _back_up_once(
        self, kind: str, name: str, undo_commands: Sequence[Argv], script: str
    ) -> None:
        if not any(entry.kind == kind for entry in self._journal_entries):
            self._journal_entries.append(
                self._journal.record(self.host.name, kind, name, undo_commands)
            )
            self._run_script(script, name)

    def _build_command(self, script: str, name: str, *arguments: str) -> Argv:
        return ("sh", "-c", script, "sh", name, self._tag, *arguments)

    def _run_script(self, script: str, name: str, stdin: bytes = b"") -> None:
        result = self.host.shell.run_unchecked(*self._build_command(script, name), stdin=stdin)
        if result.status != 0:
            message = result.stderr.strip() or f"exit status {result.status}"
            raise HostError(self.host.name, f"{name}: {message}")

    def _list_parent_removal(self) -> list[Argv]:
        """Return the command to remove the parent of the certificate folder after the test.

        The result is empty if the parent exists already.
        """
        parent = str(self.folder.parent)
        parent_exists = self.host.shell.run_unchecked("test", "-e", parent).status == 0
        return (
            []
            if parent_exists
            else [("sh", "-c", backup_scripts.REMOVE_EMPTY_PARENT, "sh", parent)]
        )


@contextmanager
def install_certificates(
    hosts: Sequence[Host], authority: CertificateAuthority, journal: Journal, tag: str
) -> Iterator[dict[str, HostCertificates]]:
    """Install certificates of the authority on every host while the block runs.

    Every host verifies peers. No host forces TLS.

    Args:
        hosts: The hosts.
        authority: Authority for all certificates.
        journal: Journal for the commands to restore the hosts.
        tag: Part of all backup names.

    Yields:
        The certificates by host name.

    Raises:
        HostError: A command failed on a host.
    """
    certificates_by_host: dict[str, HostCertificates] = {}
    with ExitStack() as stack:
        for host in hosts:
            certificates = HostCertificates(host, journal, tag)
            stack.callback(certificates.restore)
            certificates.install(authority.issue_files(list_certificate_names(host)))
            certificates.configure(migrate_tls_x509_verify=1, migrate_tls_force=0)
            certificates_by_host[host.name] = certificates
        yield certificates_by_host


def _build_archive(files: CredentialFiles, qemu_user: QemuUser, tag: str) -> bytes:
    """Build a tar archive of the files, with owners and permissions, and with the manifest.

    The manifest contains the checksum of each file, as `sha256sum` prints the checksum. By the
    manifest migqual recognizes installed files.
    """
    checksums = {name: hashlib.sha256(data).hexdigest() for name, data in files.items()}
    manifest = "".join(f"{checksum}  ./{name}\n" for name, checksum in checksums.items()).encode()
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for name, data in {f".{tag}": manifest, **files}.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            entry.mode = 0o600 if name in PRIVATE_KEY_FILES else 0o644
            entry.uid, entry.gid = qemu_user.uid, qemu_user.gid
            archive.addfile(entry, io.BytesIO(data))
    return buffer.getvalue()
