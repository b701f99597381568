"""`migqual tls install|check|rotate|restore`: manage certificates for encrypted migrations."""

import argparse
import fcntl
import hashlib
import os
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from migqual import paths, sweep
from migqual.commands import _common_arguments as common_arguments
from migqual.commands import preflight
from migqual.commands.lab import print_progress
from migqual.errors import UsageError
from migqual.hosts import journal, libvirt_daemon
from migqual.hosts.host import Host
from migqual.hosts.journal import Journal
from migqual.hosts.lease import lease_hosts
from migqual.inventory.entities import Inventory, Tier
from migqual.model.finding import Severity
from migqual.tls import certificate_check, host_certificates
from migqual.tls.certificate_authority import CertificateAuthority
from migqual.tls.certificate_facts import collect_certificate_facts
from migqual.tls.host_certificates import HostCertificates

if TYPE_CHECKING:
    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]  # noqa: SLF001 - has no other name

TAG_PREFIX = "mq-tls"
LEASE_SECONDS = 10.0
CERTIFICATE_FILE, KEY_FILE = "authority.pem", "authority-key.pem"


def register(subparsers: "Subparsers") -> None:
    """Add the command `tls` with a parser for each action."""
    parser = subparsers.add_parser(
        "tls",
        description="Manages certificates on the hypervisors of an inventory. A certificate "
        "authority on this controller issues the certificates. The original files stay on the "
        "hosts as a backup until `restore`.",
    )
    actions = parser.add_subparsers(metavar="ACTION", required=True)
    handlers: tuple[tuple[str, str, Callable[[argparse.Namespace], int]], ...] = (
        (
            "install",
            "issue and install certificates, and turn peer verification on",
            _install_certificates,
        ),
        (
            "check",
            "check the certificates on the hosts; exit code 1 if a finding is refused",
            _check_certificates,
        ),
        (
            "rotate",
            "issue and install new certificates of the same authority; no daemon is restarted",
            _rotate_certificates,
        ),
        ("restore", "restore the files that the hosts had before `install`", _restore_hosts),
    )
    for name, help_text, handler in handlers:
        action = actions.add_parser(name, help=help_text, description=help_text)
        common_arguments.add_inventory_option(action)
        if name == "check":
            action.add_argument("--json", action="store_true", help="print the findings as JSON")
        action.add_argument(
            "names",
            nargs="*",
            metavar="HOST",
            help="run the action only on these hosts (default: all)",
        )
        action.set_defaults(run=handler)


def _install_certificates(arguments: argparse.Namespace) -> int:
    inventory = common_arguments.load_named_inventory(arguments.inventory)
    names = common_arguments.select_hypervisors(inventory, arguments.names)
    with (
        _lock_authority_folder(inventory, names) as authority_folder,
        _open_host_certificates(inventory, names, authority_folder) as all_certificates,
    ):
        authority = _load_authority(authority_folder.folder) or _create_authority(
            authority_folder.folder
        )
        for certificates in all_certificates:
            libvirt_daemon.check_harmless_restart(certificates.host)
            certificates.install(
                authority.issue_files(host_certificates.list_certificate_names(certificates.host))
            )
            certificates.configure(migrate_tls_x509_verify=1)
            print_progress(
                f"{certificates.host.name}: certificates installed in {certificates.folder}, "
                "peer verification is on"
            )
    return 0


def _rotate_certificates(arguments: argparse.Namespace) -> int:
    inventory = common_arguments.load_named_inventory(arguments.inventory)
    names = common_arguments.select_hypervisors(inventory, arguments.names)
    with _lock_authority_folder(inventory, names) as authority_folder:
        authority, installed_hosts = (
            _load_authority(authority_folder.folder),
            authority_folder.list_hosts(),
        )
        selected_names = [name for name in names if name in installed_hosts or arguments.names]
        missing_names = [name for name in selected_names if name not in installed_hosts]
        if authority is None or missing_names or not selected_names:
            location = f" on {', '.join(missing_names)}" if missing_names else ""
            raise UsageError(
                f"no certificates of migqual are installed{location}",
                remedy="run `migqual tls install` first",
            )
        with _open_host_certificates(
            inventory, selected_names, authority_folder
        ) as all_certificates:
            for certificates in all_certificates:
                certificates.install(
                    authority.issue_files(
                        host_certificates.list_certificate_names(certificates.host)
                    )
                )
                print_progress(
                    f"{certificates.host.name}: new certificates installed in {certificates.folder}"
                )
    return 0


def _check_certificates(arguments: argparse.Namespace) -> int:
    inventory = common_arguments.load_named_inventory(arguments.inventory)
    with _open_hosts(
        inventory, common_arguments.select_hypervisors(inventory, arguments.names)
    ) as hosts:
        facts = [collect_certificate_facts(host) for host in hosts]
    findings = certificate_check.check_certificates_of_hosts(facts)
    preflight.print_findings(findings, as_json=arguments.json)
    return 1 if any(finding.severity is Severity.REFUSED for finding in findings) else 0


def _restore_hosts(arguments: argparse.Namespace) -> int:
    inventory = common_arguments.load_named_inventory(arguments.inventory)
    names = common_arguments.select_hypervisors(inventory, arguments.names)
    with _lock_authority_folder(inventory, names) as authority_folder:
        if not authority_folder.list_hosts():
            print_progress(_describe_nothing_installed(authority_folder))
        all_removed = True
        for file in journal.list_journal_paths(authority_folder.folder):
            with journal.open_orphaned_journal(file) as journal_file:
                # without host names, also sweep hosts that the inventory no longer has
                all_removed = (
                    journal_file is not None
                    and sweep.remove_open_entries(journal_file, print_progress, arguments.names)
                    and all_removed
                )
        if not journal.list_journal_paths(
            authority_folder.folder
        ):  # while a journal exists, a host still has certificates of this authority
            for name in (CERTIFICATE_FILE, KEY_FILE):
                (authority_folder.folder / name).unlink(missing_ok=True)
    return 0 if all_removed else 1


def _describe_nothing_installed(authority_folder: "_AuthorityFolder") -> str:
    """Build the message that no certificates are installed for the inventory.

    The message names all other inventories with certificates. An inventory file that was moved
    to another path counts as another inventory.
    """
    other_inventories = {
        str(journal.parse_journal(file, file.read_text(encoding="utf-8")).inventory)
        for folder in authority_folder.folder.parent.iterdir()
        for file in journal.list_journal_paths(folder)
    }
    message = "no certificates of migqual are installed for this inventory"
    if not other_inventories:
        return message
    names = ", ".join(sorted(other_inventories))
    return f"{message}; certificates of migqual are installed for the inventory {names}"


@contextmanager
def _open_hosts(inventory: Inventory, names: list[str]) -> Iterator[list[Host]]:
    with ExitStack() as stack:
        yield [stack.enter_context(Host(inventory.find_host(name))) for name in names]


@dataclass(frozen=True)
class _AuthorityFolder:
    """The folder with the certificate authority of an inventory, readable only by its owner.

    The folder also has a journal of each host on which migqual installed certificates.
    """

    folder: Path

    @property
    def tag(self) -> str:
        """Return the text that is part of the name of every backup on the hosts.

        The text is different for each inventory and for each state folder (MIGQUAL_STATE).
        """
        return f"{TAG_PREFIX}-{self.folder.name[:8]}"

    def list_hosts(self) -> set[str]:
        """List the hosts on which migqual installed certificates."""
        journals = [
            journal.parse_journal(file, file.read_text(encoding="utf-8"))
            for file in journal.list_journal_paths(self.folder)
        ]
        return {entry.host for journal_file in journals for entry in journal_file.open_entries}


@contextmanager
def _open_host_certificates(
    inventory: Inventory, names: list[str], authority_folder: _AuthorityFolder
) -> Iterator[list[HostCertificates]]:
    # Entries stay in the journal until `migqual tls restore`. The system reuses process ids,
    # so the name needs a random part.
    tls_journal = Journal(f"tls-{uuid.uuid4().hex[:8]}", inventory, authority_folder.folder)
    try:
        with _open_hosts(inventory, names) as hosts:
            yield [HostCertificates(host, tls_journal, authority_folder.tag) for host in hosts]
    finally:
        tls_journal.close()


@contextmanager
def _lock_authority_folder(inventory: Inventory, names: list[str]) -> Iterator[_AuthorityFolder]:
    """Lock the folder of the certificate authority, and reserve the hosts, while the block runs.

    A second `migqual tls` command waits for the lock, because `restore` must not remove the
    authority during an `install`. No run of the suites can use the reserved hosts.
    """
    state_folder, inventory_file = (
        paths.get_state_folder().absolute(),
        inventory.file and inventory.file.absolute(),
    )
    folder_name = hashlib.sha256(f"{state_folder} {inventory_file}".encode()).hexdigest()[:16]
    # The hosts of a lab are removed with the lab. So the authority is kept in the lab's folder.
    parent = (
        inventory_file.parent
        if inventory_file is not None and inventory.tier is Tier.LAB
        else state_folder
    )
    folder = parent / "tls" / folder_name
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        with lease_hosts(inventory, names, seconds=LEASE_SECONDS):
            yield _AuthorityFolder(folder)
    finally:
        os.close(descriptor)


def _load_authority(folder: Path) -> CertificateAuthority | None:
    if not (folder / KEY_FILE).is_file():
        return None
    try:
        return CertificateAuthority.from_pem(
            (folder / CERTIFICATE_FILE).read_bytes(), (folder / KEY_FILE).read_bytes()
        )
    except ValueError as error:
        raise UsageError(
            f"{folder}: the certificate authority in this folder cannot be used: {error}",
            remedy="run `migqual tls restore`, then `migqual tls install`",
        ) from error


def _create_authority(folder: Path) -> CertificateAuthority:
    """Create a certificate authority, and write its certificate and its key to `folder`.

    The key file gets its final name last. So a folder with a key file is complete.
    """
    authority = CertificateAuthority()
    (folder / CERTIFICATE_FILE).write_bytes(authority.certificate)
    partial_key = folder / f"{KEY_FILE}.new"
    partial_key.touch(mode=0o600)
    partial_key.write_bytes(authority.key)
    partial_key.rename(folder / KEY_FILE)
    return authority
