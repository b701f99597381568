"""What is wrong with the certificates of a host: facts by looking, findings by pure rules."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes

from migqual.hosts.host import Host
from migqual.model.finding import Finding, Severity
from migqual.tls import identity
from migqual.tls.authority import CA_CERT, CLIENT_CERT, CLIENT_KEY, SERVER_CERT, SERVER_KEY
from migqual.tls.settings import QEMU_CONF, Settings

SOON = timedelta(days=14)
RSA_BITS, CURVE_BITS = 2048, 256
NEEDED = (CA_CERT, SERVER_CERT, SERVER_KEY, CLIENT_CERT, CLIENT_KEY)
_LIST = 'cd -- "$1" 2>/dev/null && stat -L -c "%n %a %U" -- *.pem 2>/dev/null || true'


@dataclass(frozen=True)
class Facts:
    """What was found on one host.

    files         rights (octal) and owner by file name
    certificates  PEM by file name; keys are never read
    names         what its certificate must bear
    """

    host: str
    settings: Settings
    owner: str
    names: tuple[str, ...]
    files: Mapping[str, tuple[int, str]]
    certificates: Mapping[str, bytes]


def collect(host: Host) -> Facts:
    """Look at a host; nothing is changed."""
    found = identity.settings_of(host)
    listed = host.shell.run("sh", "-c", _LIST, "sh", str(found.folder)).stdout.splitlines()
    rows = [line.rsplit(" ", 2) for line in listed]
    files = {name: (int(rights, 8), owner) for name, rights, owner in rows}
    read = [name for name in (CA_CERT, SERVER_CERT, CLIENT_CERT) if name in files]
    return Facts(
        host=host.name,
        settings=found,
        owner=identity.owner_of(host, found)[0],
        names=identity.names_of(host),
        files=files,
        certificates={name: host.shell.get(found.folder / name) for name in read},
    )


def findings(facts: Facts, now: datetime | None = None) -> list[Finding]:
    """Pure: every rule, fulfilled or not; at `now`, which is the present unless it is given."""
    when = now or datetime.now(UTC)
    found = [_verification(facts), _presence(facts)]
    parsed = {name: x509.load_pem_x509_certificate(pem) for name, pem in facts.certificates.items()}
    if set(parsed) >= {CA_CERT, SERVER_CERT, CLIENT_CERT}:
        leaves = {name: parsed[name] for name in (SERVER_CERT, CLIENT_CERT)}
        found += [
            _expiry(facts, parsed, when),
            _name(facts, leaves[SERVER_CERT]),
            _strength(facts, leaves),
            _issuer(facts, parsed[CA_CERT], leaves),
        ]
    return [*found, _rights(facts)]


def _verification(facts: Facts) -> Finding:
    if facts.settings.verify:
        return _ok("LM-TLS-02.verification", f"{facts.host} verifies its peers")
    return _bad(
        "LM-TLS-02.verification",
        f"{facts.host} takes a guest from anybody: peers are not verified",
        f"set migrate_tls_x509_verify = 1 in {QEMU_CONF} and restart libvirt",
    )


def _presence(facts: Facts) -> Finding:
    missing = [name for name in NEEDED if name not in facts.files]
    if not missing:
        return _ok("LM-TLS-01.files", f"{facts.host} has all files in {facts.settings.folder}")
    return _bad(
        "LM-TLS-01.files",
        f"{facts.host} lacks {', '.join(missing)} in {facts.settings.folder}",
        "`migqual tls install`, or certificates of your own authority",
    )


def _expiry(facts: Facts, certificates: Mapping[str, x509.Certificate], now: datetime) -> Finding:
    ends = {name: one.not_valid_after_utc for name, one in certificates.items()}
    early = [name for name, one in certificates.items() if one.not_valid_before_utc > now]
    first = min(ends, key=lambda name: ends[name])
    days = (ends[first] - now) / timedelta(days=1)
    figures = {"days_left": round(days, 1)}
    remedy = "`migqual tls rotate`, or a new certificate of your own authority"
    if early:
        words = f"{facts.host}: {', '.join(early)} is not valid yet"
        return _bad("LM-TLS-01.expiry", words, "are the clocks right?", figures)
    if days < 0:
        words = f"{facts.host}: {first} has expired on {ends[first]:%Y-%m-%d}"
        return _bad("LM-TLS-01.expiry", words, remedy, figures)
    words = f"{facts.host}: {first} is the first to expire, on {ends[first]:%Y-%m-%d}"
    if ends[first] - now < SOON:
        return Finding("LM-TLS-01.expiry", Severity.WARNING, words, figures, remedy)
    return Finding("LM-TLS-01.expiry", Severity.OK, words, figures)


def _name(facts: Facts, server: x509.Certificate) -> Finding:
    borne = _names(server)
    missing = [name for name in facts.names if name not in borne]
    words = f"{facts.host}: its certificate bears {', '.join(borne) or 'no name'}"
    if not missing:
        return _ok("LM-TLS-01.name", words)
    return _bad(
        "LM-TLS-01.name",
        f"{words}, not {', '.join(missing)}",
        "issue it for the address that guests are sent to, or name one with `--tls-destination`",
    )


def _names(certificate: x509.Certificate) -> list[str]:
    try:
        extension = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except x509.ExtensionNotFound:
        return []
    names = extension.value
    addresses = [str(address) for address in names.get_values_for_type(x509.IPAddress)]
    return [*names.get_values_for_type(x509.DNSName), *addresses]


def _strength(facts: Facts, leaves: Mapping[str, x509.Certificate]) -> Finding:
    weak = {name: words for name, one in leaves.items() if (words := _weakness(one.public_key()))}
    if not weak:
        return _ok("LM-TLS-01.key", f"{facts.host}: keys are strong enough")
    told = ", ".join(f"{name}: {words}" for name, words in weak.items())
    remedy = f"RSA of {RSA_BITS} bits or a curve of {CURVE_BITS}"
    return _bad("LM-TLS-01.key", f"{facts.host}: weak keys: {told}", remedy)


def _weakness(key: CertificatePublicKeyTypes) -> str:
    match key:
        case rsa.RSAPublicKey() if key.key_size < RSA_BITS:
            return f"RSA of {key.key_size} bits"
        case ec.EllipticCurvePublicKey() if key.key_size < CURVE_BITS:
            return f"a curve of {key.key_size} bits"
    return ""


def _issuer(facts: Facts, ca: x509.Certificate, leaves: Mapping[str, x509.Certificate]) -> Finding:
    foreign = [name for name, one in leaves.items() if not _issued(one, ca)]
    if not foreign:
        return _ok("LM-TLS-01.authority", f"{facts.host}: issued by the authority it trusts")
    words = f"{facts.host}: {CA_CERT} has not issued {', '.join(foreign)}"
    return _bad("LM-TLS-01.authority", words, "certificates of one authority at both hosts")


def _issued(leaf: x509.Certificate, ca: x509.Certificate) -> bool:
    try:
        leaf.verify_directly_issued_by(ca)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


def _rights(facts: Facts) -> Finding:
    wrong = []
    for name in (SERVER_KEY, CLIENT_KEY):
        rights, owner = facts.files.get(name, (0o600, facts.owner))
        if rights & 0o077:
            wrong.append(f"{name} has rights {rights:03o}")
        if owner not in {facts.owner, "root"} or (owner == "root" != facts.owner):
            wrong.append(f"{name} belongs to {owner}, QEMU is {facts.owner}")
    if not wrong:
        return _ok("LM-TLS-01.rights", f"{facts.host}: keys are readable for QEMU alone")
    remedy = f"chown {facts.owner} and chmod 600"
    return _bad("LM-TLS-01.rights", f"{facts.host}: {'; '.join(wrong)}", remedy)


def agree(all_facts: Sequence[Facts]) -> Finding:
    """Pure: whether the hosts trust one authority."""
    trusted = {facts.certificates.get(CA_CERT) for facts in all_facts}
    hosts = ", ".join(facts.host for facts in all_facts)
    if len(trusted) == 1 and None not in trusted:
        return _ok("LM-TLS-01.common", f"{hosts} trust one authority")
    return _bad(
        "LM-TLS-01.common",
        f"{hosts} do not trust one authority",
        f"the same {CA_CERT} on every host that exchanges guests",
    )


def _ok(name: str, words: str) -> Finding:
    return Finding(name, Severity.OK, words)


def _bad(
    name: str, words: str, remedy: str, figures: Mapping[str, float | str] | None = None
) -> Finding:
    return Finding(name, Severity.REFUSED, words, figures or {}, remedy)
