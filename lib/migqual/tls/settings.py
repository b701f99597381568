"""Pure: libvirt's qemu.conf, as far as encrypted migrations go.

Keys and defaults are those that the file itself documents:
https://libvirt.org/kbase/tlscerts.html and https://libvirt.org/drvqemu.html
"""

import re
from dataclasses import dataclass
from pathlib import PurePosixPath

QEMU_CONF = PurePosixPath("/etc/libvirt/qemu.conf")
DEFAULT_FOLDER = PurePosixPath("/etc/pki/qemu")
_LINE = re.compile(
    r"""^[ \t]*(\w+)[ \t]*=[ \t]*(?:"([^"]*)"|'([^']*)'|(\d+))[ \t]*(?:#.*)?$""", re.MULTILINE
)


@dataclass(frozen=True)
class Settings:
    """What a host's qemu.conf says, defaults filled in.

    folder  where QEMU finds the certificates of migrations
    verify  whether whoever sends a guest must show a certificate
    force   whether a migration without TLS is refused
    user    who QEMU runs as; empty where libvirt's own default holds
    """

    folder: PurePosixPath
    verify: bool
    force: bool
    user: str
    group: str


def read(text: str) -> Settings:
    """The settings that `text`, a qemu.conf, puts in force. The last line of a key counts."""
    found = _values(text)

    def first(*keys: str, unless: str) -> str:
        return next((found[key] for key in keys if key in found), unless)

    folder = first("migrate_tls_x509_cert_dir", "default_tls_x509_cert_dir", unless="")
    verify = first("migrate_tls_x509_verify", "default_tls_x509_verify", unless="1")
    return Settings(
        folder=PurePosixPath(folder) if folder else DEFAULT_FOLDER,
        verify=verify != "0",
        force=found.get("migrate_tls_force", "0") != "0",
        user=found.get("user", ""),
        group=found.get("group", ""),
    )


def changed(text: str, **values: int) -> str:
    """`text` with each of `values` in force, and everything else as it was."""
    kept = [line for line in text.splitlines() if not _sets(line, values)]
    return "\n".join([*kept, *(f"{key} = {value}" for key, value in values.items()), ""])


def _sets(line: str, keys: dict[str, int]) -> bool:
    match = _LINE.match(line)
    return match is not None and match[1] in keys


def _values(text: str) -> dict[str, str]:
    return {
        match[1]: next(group for group in match.groups()[1:] if group is not None)
        for match in _LINE.finditer(text)
    }
