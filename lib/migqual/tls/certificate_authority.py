"""Issue certificates for hosts under test, either valid or with a deliberate flaw.

The file names are the names in QEMU's credentials folder:
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
PRIVATE_KEY_FILES = (SERVER_KEY, CLIENT_KEY)
CERTIFICATE_LIFETIME = timedelta(days=30)
_HOUR = timedelta(hours=1)
_WEAK_RSA_BITS = 1024
# The group ffdhe2048 of RFC 7919, appendix A.1. Without the file dh-params.pem a server generates
# new DH parameters at each start, and every encrypted migration waits for half a second or more.
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

CredentialFiles = Mapping[str, bytes]
_PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey


class CertificateFlaw(StrEnum):
    """A deliberate flaw in the certificates of a host.

    The source of a migration detects `WRONG_NAME` in the certificate of the destination. The
    destination does not compare the name in the certificate of the source.
    """

    MISSING = "missing"
    EXPIRED = "expired"
    NOT_YET_VALID = "not-yet-valid"
    WRONG_NAME = "wrong-name"
    OTHER_AUTHORITY = "other-authority"
    WRONG_PURPOSE = "wrong-purpose"
    WEAK_KEY = "weak-key"


@dataclass(frozen=True)
class LeafCertificate:
    """A certificate of a host and the private key of the certificate, each as PEM."""

    certificate: bytes
    key: bytes


class CertificateAuthority:
    """A certificate authority that issues the certificates of several hosts."""

    WRONG_HOST_NAME = "elsewhere.invalid"  # the name in certificates with `WRONG_NAME`

    def __init__(self, ca: trustme.CA | None = None) -> None:
        self._ca = ca or trustme.CA()

    @classmethod
    def from_pem(cls, certificate: bytes, key: bytes) -> "CertificateAuthority":
        """Load an authority from its certificate and its private key, each as PEM."""
        return cls(trustme.CA.from_pem(certificate, key))

    @property
    def certificate(self) -> bytes:
        """Return the certificate of the authority as PEM."""
        return self._ca.cert_pem.bytes()

    @property
    def key(self) -> bytes:
        """Return the private key of the authority as PEM."""
        return self._ca.private_key_pem.bytes()

    def issue_files(self, names: Sequence[str]) -> CredentialFiles:
        """Issue the files that QEMU on a host needs for TLS, as client and as server.

        Args:
            names: DNS names and IP addresses of the host. The first name is also the common name.

        Returns:
            Certificates, private keys and DH parameters as PEM, by file name.
        """
        return self._build_files(self._issue_leaf(names))

    def issue_flawed_files(self, names: Sequence[str], flaw: CertificateFlaw) -> CredentialFiles:
        """Issue the same TLS files as `issue_files`, but with a deliberate flaw.

        Args:
            names: DNS names and IP addresses of the host.
            flaw: The flaw. For `MISSING` the result contains only the authority's certificate.

        Returns:
            Certificates, private keys and DH parameters as PEM, by file name.
        """
        now = datetime.now(UTC)
        match flaw:
            case CertificateFlaw.MISSING:
                return {CA_CERT: self.certificate}
            case CertificateFlaw.EXPIRED:
                leaf = self._issue_leaf(
                    names, not_before=now - CERTIFICATE_LIFETIME, not_after=now - _HOUR
                )
            case CertificateFlaw.NOT_YET_VALID:
                leaf = self._issue_leaf(
                    names, not_before=now + _HOUR, not_after=now + CERTIFICATE_LIFETIME
                )
            case CertificateFlaw.WRONG_NAME:
                leaf = self._issue_leaf([self.WRONG_HOST_NAME])
            case CertificateFlaw.OTHER_AUTHORITY:
                return CertificateAuthority().issue_files(names)
            case CertificateFlaw.WRONG_PURPOSE:
                return self._issue_files_with_wrong_purpose(names)
            case CertificateFlaw.WEAK_KEY:
                leaf = self._issue_custom_leaf(names, ExtendedKeyUsageOID.SERVER_AUTH, weak=True)
        return self._build_files(leaf)

    def issue_crl(self, files: CredentialFiles) -> bytes:
        """Issue a certificate revocation list (CRL) that revokes the certificates of a host.

        Args:
            files: TLS files of the host, by file name, as `issue_files` returns the files.

        Returns:
            The CRL as PEM.
        """
        now = datetime.now(UTC)
        issuer = x509.load_pem_x509_certificate(self.certificate)
        builder = x509.CertificateRevocationListBuilder(
            issuer_name=issuer.subject,
            last_update=now - _HOUR,
            next_update=now + CERTIFICATE_LIFETIME,
        )
        serials = {
            x509.load_pem_x509_certificate(files[name]).serial_number
            for name in (SERVER_CERT, CLIENT_CERT)
        }
        for serial in serials:
            revoked_certificate = x509.RevokedCertificateBuilder(serial, now - _HOUR).build()
            builder = builder.add_revoked_certificate(revoked_certificate)
        crl = builder.sign(self._load_signing_key(), hashes.SHA256())
        return crl.public_bytes(serialization.Encoding.PEM)

    def _issue_leaf(
        self,
        names: Sequence[str],
        *,
        not_before: datetime | None = None,
        not_after: datetime | None = None,
    ) -> LeafCertificate:
        now = datetime.now(UTC)
        leaf = self._ca.issue_cert(
            *names,
            common_name=names[0],
            not_before=not_before or now - _HOUR,
            not_after=not_after or now + CERTIFICATE_LIFETIME,
        )
        return LeafCertificate(leaf.cert_chain_pems[0].bytes(), leaf.private_key_pem.bytes())

    def _build_files(self, leaf: LeafCertificate) -> CredentialFiles:
        return {
            CA_CERT: self.certificate,
            SERVER_CERT: leaf.certificate,
            SERVER_KEY: leaf.key,
            CLIENT_CERT: leaf.certificate,
            CLIENT_KEY: leaf.key,
            DH_PARAMS: _FFDHE2048,
        }

    def _issue_files_with_wrong_purpose(self, names: Sequence[str]) -> CredentialFiles:
        """Issue TLS files in which server certificate and client certificate have swapped purposes.

        The server certificate is only for clients, and the client certificate only for servers.
        """
        client = self._issue_custom_leaf(names, ExtendedKeyUsageOID.CLIENT_AUTH)
        server = self._issue_custom_leaf(names, ExtendedKeyUsageOID.SERVER_AUTH)
        return {
            CA_CERT: self.certificate,
            SERVER_CERT: client.certificate,
            SERVER_KEY: client.key,
            CLIENT_CERT: server.certificate,
            CLIENT_KEY: server.key,
            DH_PARAMS: _FFDHE2048,
        }

    def _issue_custom_leaf(
        self, names: Sequence[str], purpose: x509.ObjectIdentifier, *, weak: bool = False
    ) -> LeafCertificate:
        """Issue a certificate for a single purpose, which the library trustme cannot issue.

        If `weak` is true, the certificate has a weak RSA key, otherwise an EC key.
        """
        now = datetime.now(UTC)
        key: _PrivateKey = (
            rsa.generate_private_key(65537, _WEAK_RSA_BITS)
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
            .not_valid_after(now + CERTIFICATE_LIFETIME)
            .add_extension(x509.SubjectAlternativeName(_build_general_names(names)), critical=False)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.ExtendedKeyUsage([purpose]), critical=True)
            .sign(self._load_signing_key(), hashes.SHA256())
        )
        encoding = serialization.Encoding.PEM
        key_pem = key.private_bytes(
            encoding, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        return LeafCertificate(certificate.public_bytes(encoding), key_pem)

    def _load_signing_key(self) -> _PrivateKey:
        key = serialization.load_pem_private_key(self.key, password=None)
        if not isinstance(key, _PrivateKey):
            raise TypeError(
                f"the authority has a key of type {type(key).__name__}, not an EC or RSA key"
            )
        return key


def _build_general_names(names: Sequence[str]) -> list[x509.GeneralName]:
    general_names: list[x509.GeneralName] = []
    for name in names:
        try:
            general_names.append(x509.IPAddress(ipaddress.ip_address(name)))
        except ValueError:
            general_names.append(x509.DNSName(name))
    return general_names
