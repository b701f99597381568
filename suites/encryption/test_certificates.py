"""LM-TLS-01: certificates are issued, installed, checked and renewed; flaws are found."""

import re
from collections.abc import Mapping
from dataclasses import replace
from enum import StrEnum

import pytest

from fixtures.plugins.encryption import Encryption
from fixtures.plugins.guests import RecordUnguardedMigration
from fixtures.plugins.stack_messages import RecordStackMessage
from migqual.hosts.guest import Guest
from migqual.hosts.host import Host
from migqual.hosts.qemu_log import read_qemu_log
from migqual.inventory.stores import StoreKind
from migqual.model.finding import Severity
from migqual.model.guest_spec import DiskSpec, GuestSpec
from migqual.model.plan import Control, Guard, Plan, StorageCopy
from migqual.testbed.host_pair import HostPair
from migqual.testbed.testbed import Testbed
from migqual.tls import certificate_check
from migqual.tls.certificate_authority import CertificateAuthority, CertificateFlaw
from migqual.tls.certificate_facts import collect_certificate_facts
from suites.support.stack_refusals import expect_stack_refusal

# The controller drives the migration. With the control p2p, the source drives the migration and
# may lose the error message of the destination.
TLS_PLAN = Plan(tls=True, control=Control.DIRECT)
DISK_GUEST = GuestSpec(disks=(DiskSpec(StoreKind.LOCAL),))


QEMU_LOG_MESSAGE = re.compile(r"^\S+ qemu[\w-]+: (.*)$", re.MULTILINE)


class Stream(StrEnum):
    """An encrypted stream of a migration."""

    MEMORY = "memory"
    DISKS = "disks"


STREAMS: Mapping[Stream, tuple[GuestSpec, Plan]] = {
    Stream.MEMORY: (GuestSpec(), TLS_PLAN),
    Stream.DISKS: (DISK_GUEST, replace(TLS_PLAN, copy_storage=StorageCopy.ALL)),
}
FLAWS = (
    CertificateFlaw.MISSING,
    CertificateFlaw.EXPIRED,
    CertificateFlaw.NOT_YET_VALID,
    CertificateFlaw.OTHER_AUTHORITY,
    CertificateFlaw.WRONG_PURPOSE,
    CertificateFlaw.WRONG_NAME,
)
# The destination is the TLS server and does not compare the name of the client. So a wrong name in
# the certificate of the source is no fault.
ENDS = ("destination", "source")
FLAW_CASES = [
    (flaw, end)
    for flaw in FLAWS
    for end in ENDS
    if (flaw, end) != (CertificateFlaw.WRONG_NAME, ENDS[1])
]
EXPECTED_FINDINGS: Mapping[CertificateFlaw, str] = {
    CertificateFlaw.MISSING: "LM-TLS-01.files",
    CertificateFlaw.EXPIRED: "LM-TLS-01.expiry",
    CertificateFlaw.NOT_YET_VALID: "LM-TLS-01.expiry",
    CertificateFlaw.WRONG_NAME: "LM-TLS-01.name",
    CertificateFlaw.WEAK_KEY: "LM-TLS-01.key",
    CertificateFlaw.OTHER_AUTHORITY: "LM-TLS-01.common",
}


@pytest.mark.requirement("LM-TLS-01")
@pytest.mark.parametrize(
    "stream", [Stream.MEMORY, pytest.param(Stream.DISKS, marks=pytest.mark.slow)]
)
def test_bad_certificates_fail_cleanly(
    stream: Stream,
    encryption: Encryption,
    testbed: Testbed,
    record_stack_message: RecordStackMessage,
) -> None:
    """
    With a bad certificate at either end a migration fails, and the guest runs on.

    Preconditions: at each end in turn, a certificate is missing, expired, not yet valid, of
    another authority, or for another purpose. At the destination, the test also uses a
    certificate for another name.
    Expected: each migration fails, and the guest is unharmed at the source. With good
    certificates the same migration succeeds afterwards.
    """
    spec, plan = STREAMS[stream]
    guest = testbed.make_guest(spec)

    for flaw, end in FLAW_CASES:
        with encryption.install_flawed_certificates(getattr(testbed.pair, end), flaw):
            message = expect_migration_failure(testbed, guest, plan)
        record_stack_message(name_situation(stream, flaw), message)

    testbed.migrate(guest, plan)
    assert guest.host is testbed.destination


@pytest.mark.requirement("LM-TLS-01")
@pytest.mark.parametrize(
    "stream", [Stream.MEMORY, pytest.param(Stream.DISKS, marks=pytest.mark.slow)]
)
def test_revoked_source_certificate_is_refused(
    stream: Stream,
    encryption: Encryption,
    testbed: Testbed,
    record_stack_message: RecordStackMessage,
) -> None:
    """
    The destination refuses a source with a revoked certificate.

    Preconditions: the destination's revocation list contains the certificate of the source.
    Expected: the migration fails, and the guest runs on. Without the list the migration
    succeeds.
    """
    spec, plan = STREAMS[stream]
    guest = testbed.make_guest(spec)

    with encryption.revoke_certificate(testbed.source, verifying_host=testbed.destination):
        message = expect_migration_failure(testbed, guest, plan)
    record_stack_message(name_situation(stream, "revoked"), message)

    testbed.migrate(guest, plan)
    assert guest.host is testbed.destination


@pytest.mark.requirement("LM-TLS-01")
@pytest.mark.slow
def test_revoked_destination_certificate_is_recorded(
    encryption: Encryption, testbed: Testbed, record_unguarded_migration: RecordUnguardedMigration
) -> None:
    """
    The report records whether the source refuses a destination with a revoked certificate.

    Preconditions: the source's revocation list contains the certificate of the destination.
    Expected: the report says whether the migration succeeds. The guest is unharmed, even if the
    migration fails. The source is the TLS client, and only some versions of QEMU read the list as
    a client.
    """
    guest = testbed.make_guest(GuestSpec())

    with encryption.revoke_certificate(testbed.destination, verifying_host=testbed.source):
        stack_result = record_unguarded_migration(guest, TLS_PLAN)

    assert guest.host is (testbed.destination if stack_result == "migrated" else testbed.source), (
        stack_result
    )


@pytest.mark.requirement("LM-TLS-01")
def test_certificates_are_renewed_between_migrations(
    encryption: Encryption, testbed: Testbed, record_stack_message: RecordStackMessage
) -> None:
    """
    Certificates can be renewed while a guest runs; the next migration uses the new
    certificates.

    Preconditions: the guest has moved with the certificates of a first authority.
    Expected: with certificates of another authority at a single end, the migration back fails.
    With the new certificates at both ends the migration succeeds, without any restart.
    """
    guest = testbed.make_guest(GuestSpec())
    testbed.migrate(guest, TLS_PLAN)
    new_authority = CertificateAuthority()

    encryption.install_certificates(testbed.source, new_authority)
    message = expect_migration_failure(testbed, guest, TLS_PLAN)
    encryption.replace_authority(new_authority)
    testbed.migrate(guest, TLS_PLAN)

    assert guest.host is testbed.source
    record_stack_message(name_situation(Stream.MEMORY, CertificateFlaw.OTHER_AUTHORITY), message)


@pytest.mark.requirement("LM-TLS-01")
def test_tls_destination_name_is_accepted(
    encryption: Encryption, testbed: Testbed, record_stack_message: RecordStackMessage
) -> None:
    """
    With `--tls-destination NAME`, the source accepts a certificate of the destination that
    contains only NAME.

    Preconditions: the destination's certificate contains a host name, but not the address of the
    destination.
    Expected: without the option the migration fails, because the address is not in the
    certificate. With `--tls-destination` and the host name, the guest moves.
    """
    guest = testbed.make_guest(GuestSpec())

    with encryption.install_flawed_certificates(testbed.destination, CertificateFlaw.WRONG_NAME):
        message = expect_migration_failure(testbed, guest, TLS_PLAN)
        testbed.migrate(
            guest, replace(TLS_PLAN, tls_destination=CertificateAuthority.WRONG_HOST_NAME)
        )

    record_stack_message(name_situation(Stream.MEMORY, CertificateFlaw.WRONG_NAME), message)
    assert guest.host is testbed.destination


@pytest.mark.requirement("LM-TLS-01")
@pytest.mark.slow
@pytest.mark.usefixtures("encryption")
def test_tls_disks_with_multifd_without_tls_destination(
    testbed: Testbed, record_unguarded_migration: RecordUnguardedMigration
) -> None:
    """
    The report records whether a migration with TLS, copied disks and several channels (multifd)
    succeeds without `--tls-destination`.

    Preconditions: the destination's certificate contains the destination's address.
    Expected: the report says whether the migration succeeds. The guest is unharmed, even if the
    migration fails. With some versions of libvirt, QEMU refuses the migration, because libvirt
    passes no host name for the disks.
    """
    guest = testbed.make_guest(DISK_GUEST)
    plan = replace(STREAMS[Stream.DISKS][1], channels=2, guard=Guard.OFF)

    stack_result = record_unguarded_migration(guest, plan)

    assert stack_result == "migrated" or "does not match the hostname" in stack_result


@pytest.mark.requirement("LM-TLS-01")
def test_check_accepts_good_certificates(encryption: Encryption, pair: HostPair) -> None:
    """
    The certificate check finds no fault in the certificates of the test suite.

    Preconditions: certificates of the same authority on both hosts.
    Expected: every finding is ok.
    """
    assert set(encryption.original_settings) == {host.name for host in pair.hosts}
    assert list_failed_checks(*pair.hosts) == {}


@pytest.mark.requirement("LM-TLS-01")
@pytest.mark.parametrize("flaw", EXPECTED_FINDINGS, ids=str)
def test_check_reports_certificate_flaw(
    flaw: CertificateFlaw, encryption: Encryption, pair: HostPair
) -> None:
    """
    The certificate check names a flaw before a migration fails because of the flaw.

    Preconditions: the destination's certificates have a single flaw.
    Expected: the check reports only the finding for the flaw, with a remedy.
    """
    with encryption.install_flawed_certificates(pair.destination, flaw):
        remedies = list_failed_checks(*pair.hosts)

    assert set(remedies) == {EXPECTED_FINDINGS[flaw]}
    assert all(remedies.values())


@pytest.mark.requirement("LM-TLS-01")
def test_check_reports_readable_private_key(encryption: Encryption, pair: HostPair) -> None:
    """
    The certificate check finds a private key readable by other users of the host.

    Preconditions: the file mode of the destination's key is changed to 644.
    Expected: the check reports only the finding for the file mode, with a remedy.
    """
    key_path = encryption.get_identity(pair.destination).folder / "server-key.pem"

    with encryption.restore_certificates_after(pair.destination):
        pair.destination.shell.run("chmod", "644", key_path)
        remedies = list_failed_checks(*pair.hosts)

    assert set(remedies) == {"LM-TLS-01.rights"}
    assert all(remedies.values())


def expect_migration_failure(testbed: Testbed, guest: Guest, plan: Plan) -> str:
    """Expect a migration to fail, and return the error message and QEMU's messages in the logs.

    libvirt reports only one error, even if both hosts have an error. This error may only say that
    the peer closed the connection. So the function also reads QEMU's logs on both hosts.
    """
    log_lengths = {host.name: len(read_qemu_log(host, guest.name)) for host in testbed.hosts}
    message = expect_stack_refusal(testbed, guest, plan)
    new_log_texts = [
        read_qemu_log(host, guest.name)[log_lengths[host.name] :] for host in testbed.hosts
    ]
    return "; ".join([message, *QEMU_LOG_MESSAGE.findall("\n".join(new_log_texts))])


def name_situation(stream: Stream, flaw: str) -> str:
    """Return the key of a certificate flaw in `fixtures/stack_messages.yml`.

    The file lists the known messages of libvirt and QEMU for each key. For guest memory each flaw
    has its own key, for example `certificate-expired`. For copied disks all flaws have the same
    key, because QEMU's disk server does not log why the server refused a certificate.
    """
    return f"certificate-{flaw}" if stream is Stream.MEMORY else "disk-certificate"


def list_failed_checks(*hosts: Host) -> dict[str, str]:
    """Return the remedy of each failed check of the hosts' certificates, by the check's id."""
    findings = certificate_check.check_certificates_of_hosts(
        [collect_certificate_facts(host) for host in hosts]
    )
    return {
        finding.id: finding.remedy for finding in findings if finding.severity is not Severity.OK
    }
