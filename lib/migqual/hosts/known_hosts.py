"""Read the host keys of a host from a known_hosts file, with the rules of OpenSSH (sshd(8))."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import paramiko
from paramiko.hostkeys import HostKeyEntry, HostKeys, InvalidHostKey

from migqual.inventory.entities import DEFAULT_SSH_PORT

_RSA_NAMES = ("rsa-sha2-512", "rsa-sha2-256", "ssh-rsa")
_KEY_TYPES = (
    "ssh-ed25519",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
    *_RSA_NAMES,
)
_REVOKED_MARKER = "@revoked"
_AUTHORITY_MARKER = "@cert-authority"


class AuthorityOnlyError(paramiko.SSHException):
    """The known_hosts file trusts a host only by a certificate authority, not by a key."""


@dataclass(frozen=True)
class KnownKeys(paramiko.MissingHostKeyPolicy):
    """The host keys of one host, from a known_hosts file.

    During a login, paramiko calls `missing_host_key` to check the key of the host's SSH server.

    Attributes:
        trusted: Keys of the host, of any type.
        revoked: Keys in lines ``@revoked`` that match the host. migqual refuses these keys.
        has_authority: Whether a line ``@cert-authority`` matches the host. `ssh`, which libvirt
            uses, trusts certificates of the authority; paramiko cannot check certificates.
    """

    trusted: tuple[paramiko.PKey, ...] = ()
    revoked: tuple[paramiko.PKey, ...] = ()
    has_authority: bool = False

    def list_unknown_types(self) -> list[str]:
        """List the types of host keys that the host's SSH server must not use.

        The known_hosts file has no trusted key of these types. So the server sends a key of a type
        that migqual can check. If the file has no trusted key of the host at all, the list is
        empty: the server may use every type.
        """
        known_types = {key.get_name() for key in self.trusted}
        if known_types & set(_RSA_NAMES):
            known_types.update(_RSA_NAMES)
        return [one for one in _KEY_TYPES if one not in known_types] if known_types else []

    def missing_host_key(
        self,
        client: paramiko.SSHClient,  # noqa: ARG002 - the interface of paramiko
        hostname: str,
        key: paramiko.PKey,
    ) -> None:
        """Accept `key` if the known_hosts file trusts the key and does not revoke the key.

        Raises:
            paramiko.BadHostKeyException: The known_hosts file has keys of the host, but `key` is
                not one of these keys or is revoked.
            AuthorityOnlyError: The known_hosts file has no key of the host, only a certificate
                authority.
            paramiko.SSHException: The known_hosts file has neither a key of the host nor a
                certificate authority.
        """
        if key in self.trusted and key not in self.revoked:
            return
        if self.trusted:
            raise paramiko.BadHostKeyException(hostname, key, self.trusted[0])
        if self.has_authority:
            raise AuthorityOnlyError(
                f"known_hosts has no host key for {hostname!r}, only a @cert-authority line; the "
                "SSH client of migqual does not check host certificates; ssh and libvirt do"
            )
        raise paramiko.SSHException(f"Server {hostname!r} not found in known_hosts")


def read_known_keys(file: Path, address: str, port: int) -> KnownKeys:
    """Read the host keys of a host from a known_hosts file.

    If `port` is not 22, the function first searches lines with the port, for example
    ``[a1]:2222``. If no line has the port, the function uses the lines without a port.

    Args:
        file: The known_hosts file. The key in a line ``@cert-authority`` is not a host key.
        address: Name or address of the host, as the controller connects to it.
        port: Port of the SSH server.

    Raises:
        paramiko.SSHException: A line that matches the host has an invalid key.
        OSError: The file cannot be read.
    """
    text = file.read_text(encoding="utf-8", errors="replace")
    trusted = _read_matching_keys(file, text, f"[{address}]:{port}")
    if port == DEFAULT_SSH_PORT or not trusted:
        trusted = _read_matching_keys(file, text, address)
    names = {f"[{address}]:{port}", address}
    authority_lines = _list_lines(text, _AUTHORITY_MARKER)
    has_authority = any(
        _matches(line.split(maxsplit=1)[0].split(","), name)
        for line in authority_lines
        for name in names
    )
    return KnownKeys(
        trusted, _read_matching_keys(file, text, address, _REVOKED_MARKER), has_authority
    )


def _read_matching_keys(
    file: Path, text: str, hostname: str, marker: str = ""
) -> tuple[paramiko.PKey, ...]:
    keys = []
    for line in _list_lines(text, marker):
        if _matches(line.split(maxsplit=1)[0].split(","), hostname):
            try:
                entry = HostKeyEntry.from_line(line)
            except InvalidHostKey as error:
                raise paramiko.SSHException(f"invalid host key in {file}: {line!r}") from error
            if entry is not None and entry.key is not None:
                keys.append(entry.key)
    return tuple(keys)


def _list_lines(text: str, marker: str) -> Iterator[str]:
    """List the lines that begin with `marker`, and cut off the marker.

    If `marker` is empty, list the lines that have no marker.
    """
    for line in text.splitlines():
        fields = line.split()
        if not fields or fields[0].startswith("#"):
            continue
        line_marker = fields[0] if fields[0].startswith("@") else ""
        if line_marker == marker:
            yield " ".join(fields[1:] if marker else fields)


def _matches(patterns: list[str], hostname: str) -> bool:
    """Return whether the patterns of a line in known_hosts match the host name.

    A pattern that begins with ``!`` excludes host names. For example, ``*.lab,!b1.lab`` matches
    ``a1.lab``, but not ``b1.lab``.
    """
    negated = [pattern[1:] for pattern in patterns if pattern.startswith("!")]
    if any(_matches_pattern(pattern, hostname) for pattern in negated):
        return False
    return any(_matches_pattern(pattern, hostname) for pattern in patterns)


def _matches_pattern(pattern: str, hostname: str) -> bool:
    if pattern.startswith("|1|"):
        return str(HostKeys.hash_host(hostname, pattern)) == pattern
    expression = re.escape(pattern.lower()).replace(r"\*", ".*").replace(r"\?", ".")
    return re.fullmatch(expression, hostname.lower()) is not None
