"""Check the certificates of a host: collect facts on the host, then apply pure rules."""

import ipaddress
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from migqual.hosts.host import Host
from migqual.model.finding import Finding, Severity
from migqual.tls import host_certificates
from migqual.tls.certificate_authority import (
    CA_CERT,
    CLIENT_CERT,
    CLIENT_KEY,
    SERVER_CERT,
    SERVER_KEY,
)
from migqual.tls.host_certificates import QemuUser
from migqual.tls.qemu_conf import QEMU_CONF, TlsSettings

EXPIRY_WARNING = timedelta(days=14)
MIN_RSA_BITS, MIN_CURVE_BITS = 2048, 256
REQUIRED_FILES = (CA_CERT, SERVER_CERT, SERVER_KEY, CLIENT_CERT, CLIENT_KEY)
CERTIFICATE_FILES = (CA_CERT, SERVER_CERT, CLIENT_CERT)
_LIST_FILES_SCRIPT = 'cd -- "$1" 2>/dev/null && stat -L -c "%n %a %u" -- *.pem 2>/dev/null || true'
# The folders above count, too: a user without access to a folder can read no file below.
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
        migration_endpoint: Destination address of guests. The certificate must contain the
            address.
        file_permissions: Mode and user id by file name.
        unreadable_files: Files without read access for the user of QEMU.
        certificates: PEM by file name. Private keys are never read.
    """

    host: str
    settings: TlsSettings
    qemu_user: QemuUser
    migration_endpoint: str
    file_permissions: Mapping[str, tuple[int, int]]
    unreadable_files: tuple[str, ...]
    certificates: Mapping[str, bytes]


def collect_certificate_facts(host: Host) -> CertificateFacts:
    """Collect the certificate facts of a host. The host does not change.

    Raises:
        HostError: The host does not know the user or the group of QEMU.
    """
    tls_settings = host_certificates.read_tls_settings(host)
    owner = host_certificates.find_qemu_user(host, tls_settings)
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


def check_certificates(facts: CertificateFacts, now: datetime | None = None) -> list[Finding]:
    """Check the certificates of a host against all rules. The function has no side effects.

    Args:
        facts: Facts of the host.
        now: Time for the check of validity. None means the current time.

    Returns:
        A finding per rule, for fulfilled and for broken rules. If a certificate is missing or
        not valid PEM, the rules about contents are left out.
    """
    reference_time = now or datetime.now(UTC)
    chains = {name: _parse_certificates(pem) for name, pem in facts.certificates.items()}
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


def _parse_certificates(pem: bytes) -> list[x509.Certificate]:
    """Parse the certificates of a PEM file: the own certificate first, then the intermediates.

    Return an empty list for a file without a valid certificate.
    """
    try:
        return x509.load_pem_x509_certificates(pem)
    except ValueError:
        return []


def _check_peer_verification(facts: CertificateFacts) -> Finding:
    if facts.settings.verify_peers:
        return _build_ok_finding("LM-TLS-02.verification", f"{facts.host} verifies its peers")
    return _build_refused_finding(
        "LM-TLS-02.verification",
        f"{facts.host} accepts guests from any host: peers are not verified",
        f"set migrate_tls_x509_verify = 1 in {QEMU_CONF} and restart libvirt",
    )


def _check_files_present(facts: CertificateFacts, unparsable_files: Sequence[str]) -> Finding:
    missing = [name for name in REQUIRED_FILES if name not in facts.file_permissions]
    if not missing and not unparsable_files:
        return _build_ok_finding(
            "LM-TLS-01.files", f"{facts.host} has all files in {facts.settings.certificate_folder}"
        )
    problems = [f"missing files: {', '.join(missing)}"] if missing else []
    if unparsable_files:
        problems.append(f"no valid certificate in {', '.join(unparsable_files)}")
    return _build_refused_finding(
        "LM-TLS-01.files",
        f"{facts.host}: {facts.settings.certificate_folder}: {'; '.join(problems)}",
        "run `migqual tls install`, or install certificates of your own authority",
    )


def _check_expiry(
    facts: CertificateFacts, chains: Mapping[str, Sequence[x509.Certificate]], now: datetime
) -> Finding:
    certificates = {
        f"{name} ({number})" if number else name: certificate
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
    remedy = "run `migqual tls rotate`, or install a new certificate of your own authority"
    if not_yet_valid:
        message = f"{facts.host}: not valid yet: {', '.join(not_yet_valid)}"
        return _build_refused_finding(
            "LM-TLS-01.expiry", message, "check the clocks of the hosts", figures
        )
    if days_left < 0:
        message = f"{facts.host}: {first_to_expire} expired on {expiry_date}"
        return _build_refused_finding("LM-TLS-01.expiry", message, remedy, figures)
    message = f"{facts.host}: {first_to_expire} expires first, on {expiry_date}"
    if expiry_times[first_to_expire] - now < EXPIRY_WARNING:
        return Finding("LM-TLS-01.expiry", Severity.WARNING, message, figures, remedy)
    return Finding("LM-TLS-01.expiry", Severity.OK, message, figures)


def _check_server_name(facts: CertificateFacts, server: x509.Certificate) -> Finding:
    certificate_names = _list_subject_names(server)
    message = f"{facts.host}: its certificate is for {', '.join(certificate_names) or 'no name'}"
    if _normalize_address(facts.migration_endpoint) in certificate_names:
        return _build_ok_finding("LM-TLS-01.name", message)
    return _build_refused_finding(
        "LM-TLS-01.name",
        f"{message}, not for {facts.migration_endpoint}",
        "issue a certificate for the migration address, or pass a name of the certificate with "
        "`--tls-destination`",
    )


def _normalize_address(name: str) -> str:
    """Normalize an IP address to the shortest form. Return any other name unchanged."""
    try:
        return str(ipaddress.ip_address(name))
    except ValueError:
        return name


def _list_subject_names(certificate: x509.Certificate) -> list[str]:
    try:
        extension = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except x509.ExtensionNotFound:
        return []
    names = extension.value
    addresses = [str(address) for address in names.get_values_for_type(x509.IPAddress)]
    return [*names.get_values_for_type(x509.DNSName), *addresses]


def _check_key_strength(
    facts: CertificateFacts, leaf_certificates: Mapping[str, x509.Certificate]
) -> Finding:
    weak_keys = {
        name: weakness
        for name, certificate in leaf_certificates.items()
        if (weakness := _describe_weakness(certificate))
    }
    if not weak_keys:
        return _build_ok_finding("LM-TLS-01.key", f"{facts.host}: keys are strong enough")
    details = ", ".join(f"{name}: {weakness}" for name, weakness in weak_keys.items())
    remedy = f"use RSA keys of {MIN_RSA_BITS} bits or EC keys of {MIN_CURVE_BITS} bits, or longer"
    return _build_refused_finding("LM-TLS-01.key", f"{facts.host}: weak keys: {details}", remedy)


def _describe_weakness(certificate: x509.Certificate) -> str:
    try:
        key = certificate.public_key()
    except UnsupportedAlgorithm:
        return ""  # of a kind that nothing is known of here
    match key:
        case rsa.RSAPublicKey() if key.key_size < MIN_RSA_BITS:
            return f"RSA key of {key.key_size} bits"
        case ec.EllipticCurvePublicKey() if key.key_size < MIN_CURVE_BITS:
            return f"EC key of {key.key_size} bits"
    return ""


def _check_issuer(
    facts: CertificateFacts, chains: Mapping[str, Sequence[x509.Certificate]]
) -> Finding:
    trusted_certificates = chains[CA_CERT]
    untrusted_files = [
        name
        for name in (SERVER_CERT, CLIENT_CERT)
        if not _is_trusted(chains[name][0], chains[name][1:], trusted_certificates)
    ]
    if not untrusted_files:
        return _build_ok_finding(
            "LM-TLS-01.authority", f"{facts.host}: its trusted authority issued both certificates"
        )
    message = f"{facts.host}: the authority in {CA_CERT} did not issue {', '.join(untrusted_files)}"
    return _build_refused_finding(
        "LM-TLS-01.authority", message, "install certificates of one authority on both hosts"
    )


def _is_trusted(
    leaf: x509.Certificate,
    intermediates: Sequence[x509.Certificate],
    trusted_certificates: Sequence[x509.Certificate],
) -> bool:
    """Return True if a trusted authority has issued `leaf`, directly or by intermediates."""
    if any(_is_issued_by(leaf, issuer) for issuer in trusted_certificates):
        return True
    return any(
        _is_issued_by(leaf, intermediate)
        and _is_trusted(
            intermediate,
            [certificate for certificate in intermediates if certificate != intermediate],
            trusted_certificates,
        )
        for intermediate in intermediates
    )


def _is_issued_by(leaf: x509.Certificate, issuer: x509.Certificate) -> bool:
    try:
        leaf.verify_directly_issued_by(issuer)
    except UnsupportedAlgorithm:
        return leaf.issuer == issuer.subject  # a signature of a kind that is not known here
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


def _check_file_permissions(facts: CertificateFacts) -> Finding:
    problems = [
        f"QEMU, as {facts.qemu_user.name}, cannot read {name}" for name in facts.unreadable_files
    ]
    for name in (SERVER_KEY, CLIENT_KEY):
        mode, uid = facts.file_permissions.get(name, (0o600, facts.qemu_user.uid))
        if mode & 0o077:
            problems.append(f"{name} has mode {mode:03o}")
        if uid not in {facts.qemu_user.uid, 0}:
            problems.append(f"{name} belongs to user id {uid}")
    if not problems:
        return _build_ok_finding(
            "LM-TLS-01.rights", f"{facts.host}: only QEMU can read the private keys"
        )
    remedy = f"keys: chown {facts.qemu_user.name}, mode 600; certificates: mode 644; folders: 755"
    return _build_refused_finding(
        "LM-TLS-01.rights", f"{facts.host}: {'; '.join(problems)}", remedy
    )


def check_common_authority(facts_by_host: Sequence[CertificateFacts]) -> Finding:
    """Check whether all hosts trust the same authority. The function has no side effects.

    Args:
        facts_by_host: Certificate facts, an item per host.

    Returns:
        The finding `LM-TLS-01.common`.
    """
    ca_certificates = {facts.certificates.get(CA_CERT) for facts in facts_by_host}
    hosts = ", ".join(facts.host for facts in facts_by_host)
    if len(ca_certificates) == 1 and None not in ca_certificates:
        return _build_ok_finding("LM-TLS-01.common", f"{hosts} trust the same authority")
    return _build_refused_finding(
        "LM-TLS-01.common",
        f"{hosts} do not trust the same authority",
        f"install the same {CA_CERT} on all these hosts",
    )


def _build_ok_finding(finding_id: str, message: str) -> Finding:
    return Finding(finding_id, Severity.OK, message)


def _build_refused_finding(
    finding_id: str, message: str, remedy: str, figures: Mapping[str, float | str] | None = None
) -> Finding:
    return Finding(finding_id, Severity.REFUSED, message, figures or {}, remedy)
