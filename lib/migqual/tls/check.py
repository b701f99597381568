"""What is wrong with the certificates of a host: facts by looking, findings by pure rules."""

import ipaddress
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from migqual.hosts.host import Host
from migqual.model.finding import Finding, Severity
from migqual.tls import identity
from migqual.tls.authority import CA_CERT, CLIENT_CERT, CLIENT_KEY, SERVER_CERT, SERVER_KEY
from migqual.tls.identity import Owner
from migqual.tls.settings import QEMU_CONF, Settings

SOON = timedelta(days=14)
RSA_BITS, CURVE_BITS = 2048, 256
NEEDED = (CA_CERT, SERVER_CERT, SERVER_KEY, CLIENT_CERT, CLIENT_KEY)
CERTIFICATES = (CA_CERT, SERVER_CERT, CLIENT_CERT)
_LIST = 'cd -- "$1" 2>/dev/null && stat -L -c "%n %a %u" -- *.pem 2>/dev/null || true'
# the folders above count too: whoever may not enter one can read nothing below
_UNREADABLE = """\
folder=$1 user=$2 group=$3
shift 3
for name; do
    setpriv --reuid "$user" --regid "$group" --clear-groups test -r "$folder/$name" || echo "$name"
done"""


@dataclass(frozen=True)
class Facts:
    """What was found on one host.

    address       where guests are sent to, which its certificate must bear
    files         rights (octal) and owner by file name
    unreadable    those that whoever QEMU runs as cannot read
    certificates  PEM by file name; keys are never read
    """

    host: str
    settings: Settings
    owner: Owner
    address: str
    files: Mapping[str, tuple[int, int]]
    unreadable: tuple[str, ...]
    certificates: Mapping[str, bytes]


def collect(host: Host) -> Facts:
    """Look at a host; nothing is changed."""
    found = identity.settings_of(host)
    owner = identity.owner_of(host, found)
    listed = host.shell.run("sh", "-c", _LIST, "sh", str(found.folder)).stdout.splitlines()
    rows = [line.rsplit(" ", 2) for line in listed]
    files = {name: (int(rights, 8), int(user)) for name, rights, user in rows}
    needed = [name for name in NEEDED if name in files]
    who = (str(found.folder), str(owner.user), str(owner.group))
    unreadable = host.shell.run("sh", "-c", _UNREADABLE, "sh", *who, *needed).stdout.split()
    return Facts(
        host=host.name,
        settings=found,
        owner=owner,
        address=identity.address_of(host),
        files=files,
        unreadable=tuple(unreadable),
        certificates={
            name: host.shell.get(found.folder / name) for name in CERTIFICATES if name in files
        },
    )


def findings(facts: Facts, now: datetime | None = None) -> list[Finding]:
    """Pure: every rule, fulfilled or not; at `now`, which is the present unless it is given."""
    when = now or datetime.now(UTC)
    parsed = {name: _parsed(pem) for name, pem in facts.certificates.items()}
    found = [_verification(facts), _presence(facts, [name for name in parsed if not parsed[name]])]
    if all(parsed.get(name) for name in CERTIFICATES):
        leaves = {name: parsed[name][0] for name in (SERVER_CERT, CLIENT_CERT)}
        found += [
            _expiry(facts, parsed, when),
            _name(facts, leaves[SERVER_CERT]),
            _strength(facts, leaves),
            _issuer(facts, parsed),
        ]
    return [*found, _rights(facts)] if any(name in facts.files for name in NEEDED) else found


def _parsed(pem: bytes) -> list[x509.Certificate]:
    """The certificates of a file: its own first, then those between it and the authority."""
    try:
        return x509.load_pem_x509_certificates(pem)
    except ValueError:
        return []


def _verification(facts: Facts) -> Finding:
    if facts.settings.verify:
        return _ok("LM-TLS-02.verification", f"{facts.host} verifies its peers")
    return _bad(
        "LM-TLS-02.verification",
        f"{facts.host} takes a guest from anybody: peers are not verified",
        f"set migrate_tls_x509_verify = 1 in {QEMU_CONF} and restart libvirt",
    )


def _presence(facts: Facts, broken: Sequence[str]) -> Finding:
    missing = [name for name in NEEDED if name not in facts.files]
    if not missing and not broken:
        return _ok("LM-TLS-01.files", f"{facts.host} has all files in {facts.settings.folder}")
    words = [f"lacks {', '.join(missing)}"] if missing else []
    words += [f"has no certificate in {', '.join(broken)}"] if broken else []
    return _bad(
        "LM-TLS-01.files",
        f"{facts.host} {' and '.join(words)} in {facts.settings.folder}",
        "`migqual tls install`, or certificates of your own authority",
    )


def _expiry(
    facts: Facts, parsed: Mapping[str, Sequence[x509.Certificate]], now: datetime
) -> Finding:
    certificates = {
        f"{name} ({number})" if number else name: one
        for name, several in parsed.items()
        for number, one in enumerate(several)
    }
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
    words = f"{facts.host}: its certificate bears {', '.join(borne) or 'no name'}"
    if _canonical(facts.address) in borne:
        return _ok("LM-TLS-01.name", words)
    return _bad(
        "LM-TLS-01.name",
        f"{words}, not {facts.address}",
        "issue it for the address that guests are sent to, or name one with `--tls-destination`",
    )


def _canonical(name: str) -> str:
    """An address as it is written shortest; any other name as it is."""
    try:
        return str(ipaddress.ip_address(name))
    except ValueError:
        return name


def _names(certificate: x509.Certificate) -> list[str]:
    try:
        extension = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except x509.ExtensionNotFound:
        return []
    names = extension.value
    addresses = [str(address) for address in names.get_values_for_type(x509.IPAddress)]
    return [*names.get_values_for_type(x509.DNSName), *addresses]


def _strength(facts: Facts, leaves: Mapping[str, x509.Certificate]) -> Finding:
    weak = {name: words for name, one in leaves.items() if (words := _weakness(one))}
    if not weak:
        return _ok("LM-TLS-01.key", f"{facts.host}: keys are strong enough")
    told = ", ".join(f"{name}: {words}" for name, words in weak.items())
    remedy = f"RSA of {RSA_BITS} bits or a curve of {CURVE_BITS}"
    return _bad("LM-TLS-01.key", f"{facts.host}: weak keys: {told}", remedy)


def _weakness(certificate: x509.Certificate) -> str:
    try:
        key = certificate.public_key()
    except UnsupportedAlgorithm:
        return ""  # of a kind that nothing is known of here
    match key:
        case rsa.RSAPublicKey() if key.key_size < RSA_BITS:
            return f"RSA of {key.key_size} bits"
        case ec.EllipticCurvePublicKey() if key.key_size < CURVE_BITS:
            return f"a curve of {key.key_size} bits"
    return ""


def _issuer(facts: Facts, parsed: Mapping[str, Sequence[x509.Certificate]]) -> Finding:
    trusted = parsed[CA_CERT]
    foreign = [
        name
        for name in (SERVER_CERT, CLIENT_CERT)
        if not _chained(parsed[name][0], parsed[name][1:], trusted)
    ]
    if not foreign:
        return _ok("LM-TLS-01.authority", f"{facts.host}: issued by the authority it trusts")
    words = f"{facts.host}: {CA_CERT} has not issued {', '.join(foreign)}"
    return _bad("LM-TLS-01.authority", words, "certificates of one authority at both hosts")


def _chained(
    leaf: x509.Certificate,
    between: Sequence[x509.Certificate],
    trusted: Sequence[x509.Certificate],
) -> bool:
    """Whether one that is trusted has issued `leaf`, or those between have in turn."""
    if any(_issued(leaf, one) for one in trusted):
        return True
    return any(
        _issued(leaf, one) and _chained(one, [other for other in between if other != one], trusted)
        for one in between
    )


def _issued(leaf: x509.Certificate, issuer: x509.Certificate) -> bool:
    try:
        leaf.verify_directly_issued_by(issuer)
    except UnsupportedAlgorithm:
        return leaf.issuer == issuer.subject  # a signature of a kind that is not known here
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


def _rights(facts: Facts) -> Finding:
    wrong = [f"QEMU, as {facts.owner.name}, cannot read {name}" for name in facts.unreadable]
    for name in (SERVER_KEY, CLIENT_KEY):
        rights, user = facts.files.get(name, (0o600, facts.owner.user))
        if rights & 0o077:
            wrong.append(f"{name} has rights {rights:03o}")
        if user not in {facts.owner.user, 0}:
            wrong.append(f"{name} belongs to user {user}")
    if not wrong:
        return _ok("LM-TLS-01.rights", f"{facts.host}: keys are readable for QEMU alone")
    remedy = f"keys: chown {facts.owner.name}, chmod 600; certificates: 644; folders: 755"
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
