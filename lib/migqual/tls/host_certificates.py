"""Install the certificates of migqual on a host, and later restore the original state.

The certificates are in a separate folder. qemu.conf names this folder for migrations only. The
folder that VNC, NBD and other services of the host read does not change. The backup of qemu.conf is
a copy, so qemu.conf stays in place. Before each change, migqual writes the commands that undo the
change to the journal.
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
from migqual.tls.qemu_conf import DEFAULT_CERTIFICATE_FOLDER, QEMU_CONF

# migqual's folders are below libvirt's default certificate folder, so the rules of AppArmor and
# SELinux for QEMU also cover migqual's folders.
CERTIFICATE_FOLDERS = DEFAULT_CERTIFICATE_FOLDER
# An inventory may contain host names that no certificate can hold, e.g. with an underscore.
_HOST_NAME_PATTERN = re.compile(r"^[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?$")


def list_certificate_names(host: Host) -> tuple[str, ...]:
    """List the names for the certificate of a host.

    The names are the inventory name and the migration address of the host. The list leaves out a
    name with characters that no certificate can contain.
    """
    names = (host.entry.name, host.entry.migration_endpoint)
    return tuple(dict.fromkeys(name for name in names if _is_certificate_name(name)))


def _is_certificate_name(name: str) -> bool:
    return is_ip_address(name) or bool(_HOST_NAME_PATTERN.match(name))


def read_tls_checksums(host: Host) -> str:
    """Read the checksums and the file attributes of qemu.conf and of all certificate files.

    If two calls return the same result, every file still has the same contents, owner, group,
    mode and link target.

    Returns:
        The lines of `stat` and `sha256sum` for each file, sorted.
    """
    script = """
    conf=$1 real=$(readlink -f -- "$1"); shift
    for path in "$conf" "$real"; do stat -c '%N %f %u %g' -- "$path"; done
    sha256sum -- "$real"
    for folder; do
        find "$folder" -exec stat -c '%N %f %u %g' -- {} + -type f -exec sha256sum -- {} +
    done 2>/dev/null
    """
    folders = {CERTIFICATE_FOLDERS, read_tls_settings(host).certificate_folder}
    result = host.shell.run_unchecked("sh", "-c", script, "sh", QEMU_CONF, *sorted(folders))
    return "\n".join(sorted(result.stdout.splitlines()))


class HostCertificates:
    """The certificates and TLS settings that migqual installs on a host.

    The method `restore` restores the original files and settings. The name of each backup contains
    the argument `tag`.

    Attributes:
        host: The host.
        original_settings: TLS settings of the host before migqual changed anything.
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
        """Return the folder on the host for the certificates of migqual."""
        return CERTIFICATE_FOLDERS / self._tag

    def install(self, files: CredentialFiles) -> None:
        """Replace the contents of migqual's certificate folder by `files`.

        Only QEMU can read the private keys. No daemon is restarted, because QEMU reads the files
        again for every migration. QEMU uses the folder only after a call of `configure`.

        Args:
            files: Contents by file name.

        Raises:
            HostError: A user changed the installed files, or a command failed.
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
        """Set certificate folder and other TLS settings in qemu.conf; restart libvirt if necessary.

        A restart is necessary if the call changes a setting, or if an earlier call changed a
        setting but did not restart the daemon.

        Args:
            **values: Values of the other settings, for example `migrate_tls_force=0`.

        Raises:
            HostError: A user changed qemu.conf after the change by migqual, or a command failed.
        """
        # if qemu.conf is a symbolic link, the link stays, and migqual changes the link's target
        conf_path = self.host.shell.run("readlink", "-f", QEMU_CONF).stdout.strip()
        old_text, defaults = read_qemu_conf(self.host), read_tls_defaults(self.host)
        new_text = qemu_conf.update_qemu_conf(
            old_text, migrate_tls_x509_cert_dir=f'"{self.folder}"', **values
        )
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
        """Restore the certificate folder and qemu.conf that `install` and `configure` replaced.

        The restoration of qemu.conf restarts libvirt's daemon. So the method first waits until the
        jobs of other users' guests have ended. Then the method restores qemu.conf and the folder.
        If one restoration fails, the method still does the other restoration. The journal keeps
        the commands of the failed restoration.

        Raises:
            HostError: The folder or qemu.conf could not be restored.
            TimedOut: During the wait, a job of another user's guest did not end. The method
                restored nothing.
        """
        last_error: HostError | None = None
        if any(entry.kind == "settings" for entry in self._journal_entries):
            libvirt_daemon.wait_for_foreign_jobs(self.host)
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
        """List the commands that later remove the parent folders that `install` will create.

        The lowest parent folder comes first. A command removes only an empty folder.
        """
        return [
            ("sh", "-c", backup_scripts.REMOVE_EMPTY_PARENT, "sh", str(parent))
            for parent in self.folder.parents
            if self.host.shell.run_unchecked("test", "-e", parent).status != 0
        ]


@contextmanager
def install_certificates(
    hosts: Sequence[Host], authority: CertificateAuthority, journal: Journal, tag: str
) -> Iterator[dict[str, HostCertificates]]:
    """Install certificates of `authority` on every host, and restore the hosts after the block.

    In the block, every host verifies the certificates of peers, and permits migrations without TLS.

    Args:
        hosts: The hosts.
        authority: Authority that issues the certificates.
        journal: Journal that gets the commands to restore the hosts.
        tag: Part of the name of each backup.

    Yields:
        The installed certificates, by host name.

    Raises:
        HostError: A command failed on a host.
    """
    certificates_by_host: dict[str, HostCertificates] = {}
    with ExitStack() as stack:
        for host in hosts:
            libvirt_daemon.check_harmless_restart(host)
            certificates = HostCertificates(host, journal, tag)
            stack.callback(certificates.restore)
            certificates.install(authority.issue_files(list_certificate_names(host)))
            certificates.configure(migrate_tls_x509_verify=1, migrate_tls_force=0)
            certificates_by_host[host.name] = certificates
        yield certificates_by_host


def _build_archive(files: CredentialFiles, qemu_user: QemuUser, tag: str) -> bytes:
    """Build a tar archive of the files and the mark file, with owners and permissions.

    The mark file contains the line of `sha256sum` for each file. A folder with a mark file is a
    folder that migqual installed.
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
