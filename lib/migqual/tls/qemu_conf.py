"""Parse and update libvirt's TLS settings for migrations in qemu.conf. The functions are pure.

The keys and defaults are documented in qemu.conf and in libvirt's source file qemu_conf.c:
https://libvirt.org/kbase/tlscerts.html and https://libvirt.org/drvqemu.html
"""

import re
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import PurePosixPath

QEMU_CONF = PurePosixPath("/etc/libvirt/qemu.conf")
DEFAULT_CERTIFICATE_FOLDER = PurePosixPath("/etc/pki/qemu")
MIGRATION_CERTIFICATE_FOLDER = PurePosixPath("/etc/pki/libvirt-migrate")
VERIFY_DEFAULT_SINCE = (6, 10)  # earlier versions verify peers only on request
MIGRATE_TLS_FORCE_SINCE = (6, 9)
_SETTING_LINE = re.compile(
    r"""^[ \t]*(\w+)[ \t]*=[ \t]*(?:"([^"]*)"|'([^']*)'|(\d+))[ \t]*(?:#.*)?$""", re.MULTILINE
)


@dataclass(frozen=True)
class TlsDefaults:
    """The defaults of libvirt on a host for keys that are missing in qemu.conf.

    Attributes:
        verify_peers: True if the host verifies the certificates of peers. The default is True since
            libvirt 6.10.
        certificate_folder: libvirt's separate certificate folder for migrations. None means that
            this folder does not exist. Then migrations use the certificate folder that all TLS
            services of libvirt share.
    """

    verify_peers: bool = True
    certificate_folder: PurePosixPath | None = None


@dataclass(frozen=True)
class TlsSettings:
    """The TLS settings of a host, from qemu.conf or else from libvirt's defaults.

    Attributes:
        certificate_folder: Folder with the certificates for migrations.
        verify_peers: True if the source of a migration must present a valid certificate.
        force_tls: True if the host refuses migrations without TLS.
        user: User of QEMU. Empty means libvirt's default.
        group: Group of QEMU. Empty means libvirt's default.
    """

    certificate_folder: PurePosixPath
    verify_peers: bool
    force_tls: bool
    user: str
    group: str


def parse_qemu_conf(text: str, host_defaults: TlsDefaults | None = None) -> TlsSettings:
    """Parse the text of qemu.conf and return the settings in force.

    If several lines set the same key, the first line counts.

    Args:
        text: Text of qemu.conf.
        host_defaults: Defaults for missing keys. None means the defaults of libvirt 6.10 on a
            host without a separate certificate folder for migrations.
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


def update_qemu_conf(text: str, **values: int | str) -> str:
    """Set each of `values` in the text of qemu.conf.

    Old lines of the keys are removed, and the new lines are at the end. All other lines stay.

    Args:
        text: Text of qemu.conf.
        **values: New value of each key. A value of type `str` must include the quotes that
            qemu.conf needs, for example `user='"qemu"'`.

    Returns:
        The new text.
    """
    remaining_lines = [line for line in text.splitlines() if not _has_key(line, values)]
    return "\n".join([*remaining_lines, *(f"{key} = {value}" for key, value in values.items()), ""])


def _has_key(line: str, keys: Collection[str]) -> bool:
    match = _SETTING_LINE.match(line)
    return match is not None and match[1] in keys


def _parse_values(text: str) -> dict[str, str]:
    values: dict[str, str] = {}
    for match in _SETTING_LINE.finditer(text):
        values.setdefault(
            match[1], next(value for value in match.groups()[1:] if value is not None)
        )
    return values
