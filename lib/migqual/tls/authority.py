"""An authority and what it issues: good certificates, and on purpose bad ones.

File names are those that QEMU looks for in its folder of credentials:
https://www.qemu.org/docs/master/system/tls.html
"""

import ipaddress
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum

import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

CA_CERT, CA_CRL = "ca-cert.pem", "ca-crl.pem"
SERVER_CERT, SERVER_KEY = "server-cert.pem", "server-key.pem"
CLIENT_CERT, CLIENT_KEY = "client-cert.pem", "client-key.pem"
DH_PARAMS = "dh-params.pem"
KEYS = (SERVER_KEY, CLIENT_KEY)
LIFETIME = timedelta(days=30)
_HOUR = timedelta(hours=1)
_WEAK_BITS = 1024
# The group ffdhe2048 of RFC 7919, appendix A.1. Without this file a server generates parameters of
# its own at each start, which keeps every encrypted migration waiting for half a second and more.
_FFDHE2048 = b"""\
-----BEGIN DH PARAMETERS-----
MIIBCAKCAQEA//////////+t+FRYortKmq/cViAnPTzx2LnFg84tNpWp4TZBFGQz
+8yTnc4kmz75fS/jY2MMddj2gbICrsRhetPfHtXV/WVhJDP1H18GbtCFY2VVPe0a
87VXE15/V8k1mE8McODmi3fipona8+/och3xWKE2rec1MKzKT0g6eXq8CrGCsyT7
YdEIqUuyyOP7uWrat2DX9GgdT0Kj3jlN9K5W7edjcrsZCwenyO4KbXCeAvzhzffi
7MA0BM0oNC9hkXL+nOmFg/+OTxIy7vKBg8P+OxtMb61zO7X8vC7CIAXFjvGDfRaD
ssbzSibBsu/6iGtCOGEoXJf//////////wIBAg==
-----END DH PARAMETERS-----
"""

Files = Mapping[str, bytes]
_PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey


class Flaw(StrEnum):
    """What is wrong with a host's certificates. `wrong-name` is nothing that a server checks of
    its client: QEMU compares names at the source only."""

    MISSING = "missing"
    EXPIRED = "expired"
    NOT_YET_VALID = "not-yet-valid"
    WRONG_NAME = "wrong-name"
    OTHER_AUTHORITY = "other-authority"
    WRONG_PURPOSE = "wrong-purpose"
    WEAK_KEY = "weak-key"


@dataclass(frozen=True)
class Leaf:
    """A certificate with its key, both PEM."""

    certificate: bytes
    key: bytes


class Authority:
    """Issues the certificates of a set of hosts."""

    ELSEWHERE = "elsewhere.invalid"  # the name that a `Flaw.WRONG_NAME` bears

    def __init__(self, ca: trustme.CA | None = None) -> None:
        self._ca = ca or trustme.CA()

    @classmethod
    def of(cls, certificate: bytes, key: bytes) -> "Authority":
        """The authority that was kept as PEM."""
        return cls(trustme.CA.from_pem(certificate, key))

    @property
    def certificate(self) -> bytes:
        return self._ca.cert_pem.bytes()

    @property
    def key(self) -> bytes:
        return self._ca.private_key_pem.bytes()

    def files(self, names: Sequence[str]) -> Files:
        """What QEMU reads on a host with those names and addresses, as client and as server."""
        return self._files(self._leaf(names))

    def flawed(self, names: Sequence[str], flaw: Flaw) -> Files:
        """The same, with one thing wrong."""
        now = datetime.now(UTC)
        match flaw:
            case Flaw.MISSING:
                return {CA_CERT: self.certificate}
            case Flaw.EXPIRED:
                leaf = self._leaf(names, not_before=now - LIFETIME, not_after=now - _HOUR)
            case Flaw.NOT_YET_VALID:
                leaf = self._leaf(names, not_before=now + _HOUR, not_after=now + LIFETIME)
            case Flaw.WRONG_NAME:
                leaf = self._leaf([self.ELSEWHERE])
            case Flaw.OTHER_AUTHORITY:
                return Authority().files(names)
            case Flaw.WRONG_PURPOSE:
                return self._exchanged(names)
            case Flaw.WEAK_KEY:
                leaf = self._made(names, ExtendedKeyUsageOID.SERVER_AUTH, weak=True)
        return self._files(leaf)

    def revocations(self, files: Files) -> bytes:
        """The list of revoked certificates that holds those of `files`, PEM."""
        now = datetime.now(UTC)
        issuer = x509.load_pem_x509_certificate(self.certificate)
        builder = x509.CertificateRevocationListBuilder(
            issuer_name=issuer.subject, last_update=now - _HOUR, next_update=now + LIFETIME
        )
        serials = {
            x509.load_pem_x509_certificate(files[name]).serial_number
            for name in (SERVER_CERT, CLIENT_CERT)
        }
        for serial in serials:
            revoked = x509.RevokedCertificateBuilder(serial, now - _HOUR).build()
            builder = builder.add_revoked_certificate(revoked)
        signed = builder.sign(self._signer(), hashes.SHA256())
        return signed.public_bytes(serialization.Encoding.PEM)

    def _leaf(
        self,
        names: Sequence[str],
        *,
        not_before: datetime | None = None,
        not_after: datetime | None = None,
    ) -> Leaf:
        now = datetime.now(UTC)
        issued = self._ca.issue_cert(
            *names,
            common_name=names[0],
            not_before=not_before or now - _HOUR,
            not_after=not_after or now + LIFETIME,
        )
        return Leaf(issued.cert_chain_pems[0].bytes(), issued.private_key_pem.bytes())

    def _files(self, leaf: Leaf) -> Files:
        return {
            CA_CERT: self.certificate,
            SERVER_CERT: leaf.certificate,
            SERVER_KEY: leaf.key,
            CLIENT_CERT: leaf.certificate,
            CLIENT_KEY: leaf.key,
            DH_PARAMS: _FFDHE2048,
        }

    def _exchanged(self, names: Sequence[str]) -> Files:
        """As server a certificate for clients only, as client one for servers only."""
        client = self._made(names, ExtendedKeyUsageOID.CLIENT_AUTH)
        server = self._made(names, ExtendedKeyUsageOID.SERVER_AUTH)
        return {
            CA_CERT: self.certificate,
            SERVER_CERT: client.certificate,
            SERVER_KEY: client.key,
            CLIENT_CERT: server.certificate,
            CLIENT_KEY: server.key,
            DH_PARAMS: _FFDHE2048,
        }

    def _made(
        self, names: Sequence[str], purpose: x509.ObjectIdentifier, *, weak: bool = False
    ) -> Leaf:
        """A certificate that trustme would not make."""
        now = datetime.now(UTC)
        key: _PrivateKey = (
            rsa.generate_private_key(65537, _WEAK_BITS)
            if weak
            else ec.generate_private_key(ec.SECP256R1())
        )
        issuer = x509.load_pem_x509_certificate(self.certificate)
        certificate = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0])]))
            .issuer_name(issuer.subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - _HOUR)
            .not_valid_after(now + LIFETIME)
            .add_extension(x509.SubjectAlternativeName(_names(names)), critical=False)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.ExtendedKeyUsage([purpose]), critical=True)
            .sign(self._signer(), hashes.SHA256())
        )
        pem = serialization.Encoding.PEM
        private = key.private_bytes(
            pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        return Leaf(certificate.public_bytes(pem), private)

    def _signer(self) -> _PrivateKey:
        key = serialization.load_pem_private_key(self.key, password=None)
        if not isinstance(key, _PrivateKey):
            raise TypeError(f"not a key that signs certificates here: {type(key).__name__}")
        return key


def _names(names: Sequence[str]) -> list[x509.GeneralName]:
    found: list[x509.GeneralName] = []
    for name in names:
        try:
            found.append(x509.IPAddress(ipaddress.ip_address(name)))
        except ValueError:
            found.append(x509.DNSName(name))
    return found
