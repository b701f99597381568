"""Rules over certificates: each fires on what it is for, and on nothing else."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
import trustme

from migqual.model.finding import Severity
from migqual.tls import check
from migqual.tls.authority import (
    CA_CERT,
    CLIENT_CERT,
    KEYS,
    SERVER_CERT,
    SERVER_KEY,
    Authority,
    Files,
    Flaw,
)
from migqual.tls.check import Facts
from migqual.tls.identity import Owner
from migqual.tls.settings import read

pytestmark = pytest.mark.selftest

NAMES = ("b1", "10.0.0.2")
QEMU = Owner(107, 107, "qemu")
AUTHORITY = Authority()


def facts(files: Files, settings: str = "") -> Facts:
    return Facts(
        host="b1",
        settings=read(settings),
        owner=QEMU,
        address="10.0.0.2",
        files={name: (0o600 if name in KEYS else 0o644, QEMU.user) for name in files},
        unreadable=(),
        certificates={
            name: files[name] for name in (CA_CERT, SERVER_CERT, CLIENT_CERT) if name in files
        },
    )


GOOD = facts(AUTHORITY.files(NAMES))


def refused(found: Facts, now: datetime | None = None) -> set[str]:
    wrong = [one for one in check.findings(found, now) if one.verdict is not Severity.OK]
    assert all(one.remedy for one in wrong)
    return {one.id for one in wrong}


def test_good_certificates_pass_every_rule() -> None:
    assert refused(GOOD) == set()
    assert len(check.findings(GOOD)) == 7


@pytest.mark.parametrize(
    ("flaw", "finding"),
    [
        (Flaw.MISSING, "LM-TLS-01.files"),
        (Flaw.EXPIRED, "LM-TLS-01.expiry"),
        (Flaw.NOT_YET_VALID, "LM-TLS-01.expiry"),
        (Flaw.WRONG_NAME, "LM-TLS-01.name"),
        (Flaw.WEAK_KEY, "LM-TLS-01.key"),
    ],
    ids=str,
)
def test_each_flaw_is_named(flaw: Flaw, finding: str) -> None:
    assert refused(facts(AUTHORITY.flawed(NAMES, flaw))) == {finding}


def test_certificate_of_an_authority_that_the_host_does_not_trust() -> None:
    mixed = {**AUTHORITY.files(NAMES), CA_CERT: Authority().certificate}

    assert refused(facts(mixed)) == {"LM-TLS-01.authority"}


def test_hosts_that_trust_different_authorities() -> None:
    other = facts(AUTHORITY.flawed(NAMES, Flaw.OTHER_AUTHORITY))

    assert refused(other) == set()
    assert check.agree([GOOD, GOOD]).verdict is Severity.OK
    assert check.agree([GOOD, other]).verdict is Severity.REFUSED
    assert check.agree([GOOD, facts({})]).verdict is Severity.REFUSED


def test_verification_that_is_off() -> None:
    off = facts(AUTHORITY.files(NAMES), "migrate_tls_x509_verify = 0\n")

    assert refused(off) == {"LM-TLS-02.verification"}


@pytest.mark.parametrize("rights", [(0o640, 107), (0o644, 107), (0o600, 1000)], ids=str)
def test_keys_that_others_read(rights: tuple[int, int]) -> None:
    assert refused(replace(GOOD, files={**GOOD.files, SERVER_KEY: rights})) == {"LM-TLS-01.rights"}


@pytest.mark.parametrize("name", [SERVER_KEY, CA_CERT])
def test_files_that_qemu_cannot_read(name: str) -> None:
    assert refused(replace(GOOD, unreadable=(name,))) == {"LM-TLS-01.rights"}


def test_file_that_holds_no_certificate() -> None:
    broken = {**GOOD.certificates, SERVER_CERT: b"-----BEGIN CERTIFICATE-----\nno\n"}

    assert refused(replace(GOOD, certificates=broken)) == {"LM-TLS-01.files"}


def test_only_the_address_must_be_borne() -> None:
    """An inventory may call a host what its certificate does not; addresses have many spellings."""
    files = AUTHORITY.files(("2001:db8::2",))

    assert refused(replace(facts(files), address="2001:DB8:0::2")) == set()


def test_authorities_in_a_bundle_and_between() -> None:
    """What QEMU follows is followed: several trusted ones, and one between leaf and root."""
    root, other = trustme.CA(), trustme.CA()
    between = root.create_child_ca()
    leaf = between.issue_cert("10.0.0.2")
    chain = b"".join(one.bytes() for one in leaf.cert_chain_pems)
    bundle = other.cert_pem.bytes() + root.cert_pem.bytes()
    certificates = {CA_CERT: bundle, SERVER_CERT: chain, CLIENT_CERT: chain}

    assert refused(replace(GOOD, certificates=certificates)) == set()
    assert refused(
        replace(GOOD, certificates={**certificates, CA_CERT: other.cert_pem.bytes()})
    ) == {"LM-TLS-01.authority"}


def test_expiry_is_foretold() -> None:
    soon = datetime.now(UTC) + timedelta(days=20)
    found = {one.id: one.verdict for one in check.findings(GOOD, soon)}

    assert found["LM-TLS-01.expiry"] is Severity.WARNING
    assert refused(GOOD, datetime.now(UTC) + timedelta(days=40)) == {"LM-TLS-01.expiry"}


def test_authority_that_was_kept_issues_what_its_hosts_trust() -> None:
    again = Authority.of(AUTHORITY.certificate, AUTHORITY.key)

    assert refused(facts(again.files(NAMES))) == set()
    assert check.agree([GOOD, facts(again.files(NAMES))]).verdict is Severity.OK
