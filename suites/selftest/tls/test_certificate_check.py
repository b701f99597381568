"""Tests of the certificate rules: each rule refuses only the facts meant for the rule."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
import trustme

from migqual.model.finding import Severity
from migqual.tls import certificate_check
from migqual.tls.certificate_authority import (
    CA_CERT,
    CLIENT_CERT,
    PRIVATE_KEY_FILES,
    SERVER_CERT,
    SERVER_KEY,
    CertificateAuthority,
    CertificateFlaw,
    CredentialFiles,
)
from migqual.tls.certificate_facts import CertificateFacts
from migqual.tls.host_settings import QemuUser
from migqual.tls.qemu_conf import parse_qemu_conf

pytestmark = pytest.mark.selftest

HOST_NAMES = ("b1", "10.0.0.2")
QEMU_USER = QemuUser(107, 107, "qemu")
AUTHORITY = CertificateAuthority()


def make_certificate_facts(files: CredentialFiles, settings: str = "") -> CertificateFacts:
    return CertificateFacts(
        host="b1",
        settings=parse_qemu_conf(settings),
        qemu_user=QEMU_USER,
        migration_endpoint="10.0.0.2",
        file_permissions={
            name: (0o600 if name in PRIVATE_KEY_FILES else 0o644, QEMU_USER.uid) for name in files
        },
        unreadable_files=(),
        certificates={
            name: files[name] for name in (CA_CERT, SERVER_CERT, CLIENT_CERT) if name in files
        },
    )


GOOD_FACTS = make_certificate_facts(AUTHORITY.issue_files(HOST_NAMES))


def find_failed_ids(facts: CertificateFacts, now: datetime | None = None) -> set[str]:
    failed_findings = [
        finding
        for finding in certificate_check.check_certificates(facts, now)
        if finding.severity is not Severity.OK
    ]
    assert all(finding.remedy for finding in failed_findings)
    return {finding.id for finding in failed_findings}


def test_good_certificates_pass_every_rule() -> None:
    assert find_failed_ids(GOOD_FACTS) == set()
    assert len(certificate_check.check_certificates(GOOD_FACTS)) == 7


@pytest.mark.parametrize(
    ("flaw", "finding_id"),
    [
        (CertificateFlaw.MISSING, "LM-TLS-01.files"),
        (CertificateFlaw.EXPIRED, "LM-TLS-01.expiry"),
        (CertificateFlaw.NOT_YET_VALID, "LM-TLS-01.expiry"),
        (CertificateFlaw.WRONG_NAME, "LM-TLS-01.name"),
        (CertificateFlaw.WEAK_KEY, "LM-TLS-01.key"),
    ],
    ids=str,
)
def test_each_certificate_flaw_has_a_finding(flaw: CertificateFlaw, finding_id: str) -> None:
    assert find_failed_ids(
        make_certificate_facts(AUTHORITY.issue_flawed_files(HOST_NAMES, flaw))
    ) == {finding_id}


def test_certificate_of_untrusted_authority_is_refused() -> None:
    files = {**AUTHORITY.issue_files(HOST_NAMES), CA_CERT: CertificateAuthority().certificate}

    assert find_failed_ids(make_certificate_facts(files)) == {"LM-TLS-01.authority"}


def test_hosts_with_different_authorities_are_refused() -> None:
    peer_facts = make_certificate_facts(
        AUTHORITY.issue_flawed_files(HOST_NAMES, CertificateFlaw.OTHER_AUTHORITY)
    )

    assert find_failed_ids(peer_facts) == set()
    assert (
        certificate_check.check_common_authority([GOOD_FACTS, GOOD_FACTS]).severity is Severity.OK
    )
    assert (
        certificate_check.check_common_authority([GOOD_FACTS, peer_facts]).severity
        is Severity.REFUSED
    )
    assert (
        certificate_check.check_common_authority([GOOD_FACTS, make_certificate_facts({})]).severity
        is Severity.REFUSED
    )


def test_disabled_peer_verification_is_refused() -> None:
    unverified_facts = make_certificate_facts(
        AUTHORITY.issue_files(HOST_NAMES), "migrate_tls_x509_verify = 0\n"
    )

    assert find_failed_ids(unverified_facts) == {"LM-TLS-02.verification"}


@pytest.mark.parametrize("permissions", [(0o640, 107), (0o644, 107), (0o600, 1000)], ids=str)
def test_private_key_readable_by_others_is_refused(permissions: tuple[int, int]) -> None:
    assert find_failed_ids(
        replace(
            GOOD_FACTS, file_permissions={**GOOD_FACTS.file_permissions, SERVER_KEY: permissions}
        )
    ) == {"LM-TLS-01.rights"}


@pytest.mark.parametrize("name", [SERVER_KEY, CA_CERT])
def test_file_unreadable_for_qemu_is_refused(name: str) -> None:
    assert find_failed_ids(replace(GOOD_FACTS, unreadable_files=(name,))) == {"LM-TLS-01.rights"}


def test_file_without_certificate_is_refused() -> None:
    certificates = {**GOOD_FACTS.certificates, SERVER_CERT: b"-----BEGIN CERTIFICATE-----\nno\n"}

    assert find_failed_ids(replace(GOOD_FACTS, certificates=certificates)) == {"LM-TLS-01.files"}


def test_certificate_needs_the_migration_address_only() -> None:
    """
    The certificate needs only the migration address, in any spelling of the address.

    The inventory may use a host name without an entry in the certificate.
    """
    files = AUTHORITY.issue_files(("2001:db8::2",))

    assert (
        find_failed_ids(replace(make_certificate_facts(files), migration_endpoint="2001:DB8:0::2"))
        == set()
    )


def test_ca_bundle_and_intermediate_ca() -> None:
    """
    The check LM-TLS-01.authority accepts the same certificate chains as QEMU.

    Expected: the CA file may contain several trusted root authorities. The server or client
    certificate may be issued by an intermediate authority of a trusted root. If the root is not
    in the CA file, the certificate is refused.
    """
    root_ca, other_ca = trustme.CA(), trustme.CA()
    intermediate_ca = root_ca.create_child_ca()
    leaf = intermediate_ca.issue_cert("10.0.0.2")
    chain = b"".join(pem.bytes() for pem in leaf.cert_chain_pems)
    bundle = other_ca.cert_pem.bytes() + root_ca.cert_pem.bytes()
    certificates = {CA_CERT: bundle, SERVER_CERT: chain, CLIENT_CERT: chain}

    assert find_failed_ids(replace(GOOD_FACTS, certificates=certificates)) == set()
    assert find_failed_ids(
        replace(GOOD_FACTS, certificates={**certificates, CA_CERT: other_ca.cert_pem.bytes()})
    ) == {"LM-TLS-01.authority"}


def test_certificate_expiry_warning() -> None:
    check_time = datetime.now(UTC) + timedelta(days=20)
    severities = {
        finding.id: finding.severity
        for finding in certificate_check.check_certificates(GOOD_FACTS, check_time)
    }

    assert severities["LM-TLS-01.expiry"] is Severity.WARNING
    assert find_failed_ids(GOOD_FACTS, datetime.now(UTC) + timedelta(days=40)) == {
        "LM-TLS-01.expiry"
    }


def test_stored_authority_issues_trusted_certificates() -> None:
    stored_authority = CertificateAuthority.from_pem(AUTHORITY.certificate, AUTHORITY.key)

    assert (
        find_failed_ids(make_certificate_facts(stored_authority.issue_files(HOST_NAMES))) == set()
    )
    assert (
        certificate_check.check_common_authority(
            [GOOD_FACTS, make_certificate_facts(stored_authority.issue_files(HOST_NAMES))]
        ).severity
        is Severity.OK
    )
