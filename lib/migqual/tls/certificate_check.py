"""Check the collected facts about the certificates of hosts. The functions are pure."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta

from cryptography import x509

from migqual.inventory.field_types import normalize_address
from migqual.model.finding import Finding
from migqual.preflight.findings import report_ok, report_refusal, report_warning
from migqual.tls.certificate_authority import (
    CA_CERT,
    CLIENT_CERT,
    CLIENT_KEY,
    SERVER_CERT,
    SERVER_KEY,
)
from migqual.tls.certificate_facts import CERTIFICATE_FILES, REQUIRED_FILES, CertificateFacts
from migqual.tls.qemu_conf import QEMU_CONF
from migqual.tls.x509_properties import (
    MIN_CURVE_BITS,
    MIN_RSA_BITS,
    describe_key_weakness,
    is_issued_by_authority,
    list_subject_names,
    parse_certificates,
)

EXPIRY_WARNING = timedelta(days=14)


def check_certificates_of_hosts(facts_by_host: Sequence[CertificateFacts]) -> list[Finding]:
    """Check the certificates of each host, and whether all hosts trust the same authority.

    Args:
        facts_by_host: The facts about the certificates of each host.

    Returns:
        The findings (results of checks) of `check_certificates` for each host. For two or more
        hosts, the list also contains the finding of `check_common_authority`.
    """
    findings = [finding for facts in facts_by_host for finding in check_certificates(facts)]
    if len(facts_by_host) > 1:
        findings.append(check_common_authority(facts_by_host))
    return findings


def check_certificates(facts: CertificateFacts, now: datetime | None = None) -> list[Finding]:
    """Check the certificates of a host against all rules. The function has no side effects.

    Args:
        facts: Facts of the host.
        now: Time at which the certificates must be valid. None means the current time.

    Returns:
        A finding (the result of a check) for each rule, also for a rule without a problem. If a
        certificate is missing or is not valid PEM, the list leaves out the rules about the
        contents of certificates.
    """
    reference_time = now or datetime.now(UTC)
    chains = {name: parse_certificates(pem) for name, pem in facts.certificates.items()}
    findings = [
        _check_peer_verification(facts),
        _check_files_present(facts, [name for name in chains if not chains[name]]),
    ]
    if all(chains.get(name) for name in CERTIFICATE_FILES):
        leaf_certificates = {name: chains[name][0] for name in (SERVER_CERT, CLIENT_CERT)}
        findings += [
            _check_expiry(facts, chains, reference_time),
            _check_server_name(facts, leaf_certificates[SERVER_CERT]),
            _check_key_strength(facts, leaf_certificates),
            _check_issuer(facts, chains),
        ]
    return (
        [*findings, _check_file_permissions(facts)]
        if any(name in facts.file_permissions for name in REQUIRED_FILES)
        else findings
    )


def _check_peer_verification(facts: CertificateFacts) -> Finding:
    if facts.settings.verify_peers:
        return report_ok(
            "LM-TLS-02.verification", f"{facts.host}: libvirt verifies the certificates of peers"
        )
    return report_refusal(
        "LM-TLS-02.verification",
        f"{facts.host}: libvirt does not verify certificates of peers, so any host can "
        f"migrate guests to {facts.host}",
        f"on {facts.host}, set migrate_tls_x509_verify = 1 in {QEMU_CONF} and restart libvirt",
    )


def _check_files_present(facts: CertificateFacts, unparsable_files: Sequence[str]) -> Finding:
    missing = [name for name in REQUIRED_FILES if name not in facts.file_permissions]
    if not missing and not unparsable_files:
        return report_ok(
            "LM-TLS-01.files",
            f"{facts.host}: all TLS files are in {facts.settings.certificate_folder}",
        )
    problems = [f"the folder lacks {', '.join(missing)}"] if missing else []
    if unparsable_files:
        problems.append(f"no valid certificate is in {', '.join(unparsable_files)}")
    return report_refusal(
        "LM-TLS-01.files",
        f"{facts.host}: {facts.settings.certificate_folder}: {'; '.join(problems)}",
        f"run `migqual tls install`, or install certificates of your own authority on {facts.host}",
    )


def _check_expiry(
    facts: CertificateFacts, chains: Mapping[str, Sequence[x509.Certificate]], now: datetime
) -> Finding:
    certificates = {
        f"{name} (certificate {number + 1})" if number else name: certificate
        for name, chain in chains.items()
        for number, certificate in enumerate(chain)
    }
    expiry_times = {
        name: certificate.not_valid_after_utc for name, certificate in certificates.items()
    }
    not_yet_valid = [
        name for name, certificate in certificates.items() if certificate.not_valid_before_utc > now
    ]
    first_to_expire = min(expiry_times, key=lambda name: expiry_times[name])
    days_left = (expiry_times[first_to_expire] - now) / timedelta(days=1)
    figures = {"days_left": round(days_left, 1)}
    expiry_date = f"{expiry_times[first_to_expire]:%Y-%m-%d}"
    remedy = f"run `migqual tls rotate`, or install new certificates of your own on {facts.host}"
    if not_yet_valid:
        message = f"{facts.host}: the certificates in {', '.join(not_yet_valid)} are not valid yet"
        return report_refusal(
            "LM-TLS-01.expiry",
            message,
            f"correct the clock of {facts.host}, or install certificates that are already valid",
            **figures,
        )
    if days_left < 0:
        message = f"{facts.host}: the certificate {first_to_expire} expired on {expiry_date}"
        return report_refusal("LM-TLS-01.expiry", message, remedy, **figures)
    message = (
        f"{facts.host}: of all certificates, {first_to_expire} expires first, on {expiry_date}"
    )
    if expiry_times[first_to_expire] - now < EXPIRY_WARNING:
        return report_warning("LM-TLS-01.expiry", message, remedy, **figures)
    return report_ok("LM-TLS-01.expiry", message, **figures)


def _check_server_name(facts: CertificateFacts, server: x509.Certificate) -> Finding:
    certificate_names = list_subject_names(server)
    names_text = f"the names {', '.join(certificate_names)}" if certificate_names else "no name"
    message = f"{facts.host}: the certificate {SERVER_CERT} contains {names_text}"
    if normalize_address(facts.migration_endpoint) in certificate_names:
        return report_ok("LM-TLS-01.name", message)
    return report_refusal(
        "LM-TLS-01.name",
        f"{message}; the migration address {facts.migration_endpoint} is missing",
        f"install a certificate with the migration address on {facts.host}, or set "
        "`--tls-destination` to a name in the certificate",
    )


def _check_key_strength(
    facts: CertificateFacts, leaf_certificates: Mapping[str, x509.Certificate]
) -> Finding:
    weak_keys = {
        name: weakness
        for name, certificate in leaf_certificates.items()
        if (weakness := describe_key_weakness(certificate))
    }
    if not weak_keys:
        return report_ok(
            "LM-TLS-01.key",
            f"{facts.host}: the keys of {SERVER_CERT} and {CLIENT_CERT} are strong enough",
        )
    details = ", ".join(f"{name}: {weakness}" for name, weakness in weak_keys.items())
    remedy = (
        f"on {facts.host}, install certificates with RSA keys of at least {MIN_RSA_BITS} bits, "
        f"or EC keys of at least {MIN_CURVE_BITS} bits"
    )
    return report_refusal(
        "LM-TLS-01.key",
        f"{facts.host}: the keys of these TLS certificates are too weak: {details}",
        remedy,
    )


def _check_issuer(
    facts: CertificateFacts, chains: Mapping[str, Sequence[x509.Certificate]]
) -> Finding:
    trusted_certificates = chains[CA_CERT]
    untrusted_files = [
        name
        for name in (SERVER_CERT, CLIENT_CERT)
        if not is_issued_by_authority(chains[name][0], chains[name][1:], trusted_certificates)
    ]
    if not untrusted_files:
        return report_ok(
            "LM-TLS-01.authority",
            f"{facts.host}: the authority in {CA_CERT} issued {SERVER_CERT} and {CLIENT_CERT}",
        )
    message = f"{facts.host}: the authority in {CA_CERT} did not issue {', '.join(untrusted_files)}"
    return report_refusal(
        "LM-TLS-01.authority", message, "install certificates of the same authority on all hosts"
    )


def _check_file_permissions(facts: CertificateFacts) -> Finding:
    problems = [
        f"QEMU (user {facts.qemu_user.name}) cannot read {name}" for name in facts.unreadable_files
    ]
    for name in (SERVER_KEY, CLIENT_KEY):
        mode, uid = facts.file_permissions.get(name, (0o600, facts.qemu_user.uid))
        if mode & 0o077:
            problems.append(f"other users have access to {name} (mode {mode:03o})")
        if uid not in {facts.qemu_user.uid, 0}:
            problems.append(f"{name} belongs to the user id {uid}, not to QEMU or root")
    if not problems:
        return report_ok(
            "LM-TLS-01.rights",
            f"{facts.host}: QEMU can read all TLS files, and other users cannot read private keys",
        )
    remedy = (
        f"on {facts.host}, give private keys the owner {facts.qemu_user.name} and the mode 600, "
        "certificates the mode 644, and folders the mode 755"
    )
    return report_refusal("LM-TLS-01.rights", f"{facts.host}: {'; '.join(problems)}", remedy)


def check_common_authority(facts_by_host: Sequence[CertificateFacts]) -> Finding:
    """Check whether all hosts trust the same authority. The function has no side effects.

    Args:
        facts_by_host: The facts about the certificates of each host.

    Returns:
        The finding (the result of the check) with the id `LM-TLS-01.common`.
    """
    ca_certificates = {facts.certificates.get(CA_CERT) for facts in facts_by_host}
    hosts = ", ".join(facts.host for facts in facts_by_host)
    if len(ca_certificates) == 1 and None not in ca_certificates:
        return report_ok(
            "LM-TLS-01.common", f"the hosts {hosts} trust the same certificate authority"
        )
    return report_refusal(
        "LM-TLS-01.common",
        f"the hosts {hosts} do not trust the same certificate authority",
        f"install the same {CA_CERT} on the hosts {hosts}",
    )
