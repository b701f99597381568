"""Parse and update the TLS settings for migrations in libvirt's qemu.conf. Pure functions.

The keys and defaults come from the documentation in qemu.conf and from qemu_conf.c:
https://libvirt.org/kbase/tlscerts.html and https://libvirt.org/drvqemu.html
"""

import re
from dataclasses import dataclass
from pathlib import PurePosixPath

QEMU_CONF = PurePosixPath("/etc/libvirt/qemu.conf")
DEFAULT_CERTIFICATE_FOLDER = PurePosixPath("/etc/pki/qemu")
MIGRATION_CERTIFICATE_FOLDER = PurePosixPath("/etc/pki/libvirt-migrate")
VERIFY_DEFAULT_SINCE = (6, 10)  # before, libvirt verified nobody unless it was told to
MIGRATE_TLS_FORCE_SINCE = (6, 9)
_SETTING_LINE = re.compile(
    r"""^[ \t]*(\w+)[ \t]*=[ \t]*(?:"([^"]*)"|'([^']*)'|(\d+))[ \t]*(?:#.*)?$""", re.MULTILINE
)


@dataclass(frozen=True)
class TlsDefaults:
    """The defaults of a host for keys without a value in qemu.conf.

    Attributes:
        verify_peers: True for libvirt 6.10 and later. Earlier versions do not verify.
        certificate_folder: libvirt's folder for migrations, or None if absent. The folder has
            priority over the common folder of all TLS services.
    """

    verify_peers: bool = True
    certificate_folder: PurePosixPath | None = None


@dataclass(frozen=True)
class TlsSettings:
    """The settings in qemu.conf of a host, completed with defaults.

    Attributes:
        certificate_folder: Folder with the certificates for migrations.
        verify_peers: The sender of a guest must present a certificate.
        force_tls: The host refuses a migration without TLS.
        user: User of QEMU. Empty for libvirt's default.
        group: Group of QEMU. Empty for libvirt's default.
    """

    certificate_folder: PurePosixPath
    verify_peers: bool
    force_tls: bool
    user: str
    group: str


def parse_qemu_conf(text: str, host_defaults: TlsDefaults | None = None) -> TlsSettings:
    """Parse the text of qemu.conf and return the settings in force.

    If a key has several lines, the first line counts.

    Args:
        text: Text of qemu.conf.
        host_defaults: Defaults for missing keys. None means libvirt 6.10 or later without a
            folder for migrations.
    """
    values = _parse_values(text)
    defaults = host_defaults or TlsDefaults()
    folder = values.get("migrate_tls_x509_cert_dir") or defaults.certificate_folder
    verify = values.get("migrate_tls_x509_verify") or values.get("default_tls_x509_verify")
    return TlsSettings(
        certificate_folder=PurePosixPath(
            folder or values.get("default_tls_x509_cert_dir") or DEFAULT_CERTIFICATE_FOLDER
        ),
        verify_peers=verify != "0" if verify else defaults.verify_peers,
        force_tls=values.get("migrate_tls_force", "0") != "0",
        user=values.get("user", ""),
        group=values.get("group", ""),
    )


def update_qemu_conf(text: str, **values: int) -> str:
    """Update the text of qemu.conf to put each value in force.

    All other lines stay the same. The new lines are at the end.

    Args:
        text: Text of qemu.conf.
        **values: Value by key.

    Returns:
        The new text.
    """
    remaining_lines = [line for line in text.splitlines() if not _has_key(line, values)]
    return "\n".join([*remaining_lines, *(f"{key} = {value}" for key, value in values.items()), ""])


def _has_key(line: str, keys: dict[str, int]) -> bool:
    match = _SETTING_LINE.match(line)
    return match is not None and match[1] in keys


def _parse_values(text: str) -> dict[str, str]:
    values: dict[str, str] = {}
    for match in _SETTING_LINE.finditer(text):
        values.setdefault(
            match[1], next(value for value in match.groups()[1:] if value is not None)
        )
    return values
