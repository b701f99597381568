"""Read names, key strength and issuer of X.509 certificates. The functions are pure."""

from collections.abc import Sequence

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, rsa

MIN_RSA_BITS, MIN_CURVE_BITS = 2048, 256


def parse_certificates(pem: bytes) -> list[x509.Certificate]:
    """Parse the certificates in a PEM file, in the order of the file.

    Returns:
        The certificates. The list is empty if the file contains no valid certificate.
    """
    try:
        return x509.load_pem_x509_certificates(pem)
    except ValueError:
        return []


def list_subject_names(certificate: x509.Certificate) -> list[str]:
    """List the DNS names and IP addresses in a certificate (RFC 5280, subjectAltName)."""
    try:
        extension = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except x509.ExtensionNotFound:
        return []
    names = extension.value
    addresses = [str(address) for address in names.get_values_for_type(x509.IPAddress)]
    return [*names.get_values_for_type(x509.DNSName), *addresses]


def describe_key_weakness(certificate: x509.Certificate) -> str:
    """Return type and length of the certificate's key if the key is weak, else an empty text."""
    try:
        key = certificate.public_key()
    except UnsupportedAlgorithm:
        return ""
    match key:
        case rsa.RSAPublicKey() if key.key_size < MIN_RSA_BITS:
            return f"RSA key of {key.key_size} bits"
        case ec.EllipticCurvePublicKey() if key.key_size < MIN_CURVE_BITS:
            return f"EC key of {key.key_size} bits"
    return ""


def is_issued_by_authority(
    leaf: x509.Certificate,
    intermediates: Sequence[x509.Certificate],
    trusted_certificates: Sequence[x509.Certificate],
) -> bool:
    """Return whether a trusted authority issued `leaf`, directly or through intermediate CAs."""
    if any(_is_issued_by(leaf, issuer) for issuer in trusted_certificates):
        return True
    return any(
        _is_issued_by(leaf, intermediate)
        and is_issued_by_authority(
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
        return leaf.issuer == issuer.subject  # the signature cannot be verified
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True
