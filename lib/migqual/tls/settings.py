"""Pure: libvirt's qemu.conf, as far as encrypted migrations go.

Keys and defaults are those that the file itself documents, and of qemu_conf.c:
https://libvirt.org/kbase/tlscerts.html and https://libvirt.org/drvqemu.html
"""

import re
from dataclasses import dataclass
from pathlib import PurePosixPath

QEMU_CONF = PurePosixPath("/etc/libvirt/qemu.conf")
DEFAULT_FOLDER = PurePosixPath("/etc/pki/qemu")
MIGRATION_FOLDER = PurePosixPath("/etc/pki/libvirt-migrate")
VERIFIES_SINCE = (6, 10)  # before, libvirt verified nobody unless it was told to
FORCES_SINCE = (6, 9)
_LINE = re.compile(
    r"""^[ \t]*(\w+)[ \t]*=[ \t]*(?:"([^"]*)"|'([^']*)'|(\d+))[ \t]*(?:#.*)?$""", re.MULTILINE
)


@dataclass(frozen=True)
class Defaults:
    """What holds on a host where its qemu.conf says nothing.

    verify  libvirt 6.10 and later verify, earlier ones do not
    folder  libvirt's own for migrations, if it is there: it comes before the one for everything
    """

    verify: bool = True
    folder: PurePosixPath | None = None


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


def read(text: str, unless: Defaults | None = None) -> Settings:
    """The settings that `text`, a qemu.conf, puts in force. The first line of a key counts."""
    found = _values(text)
    defaults = unless or Defaults()
    folder = found.get("migrate_tls_x509_cert_dir") or defaults.folder
    verify = found.get("migrate_tls_x509_verify") or found.get("default_tls_x509_verify")
    return Settings(
        folder=PurePosixPath(folder or found.get("default_tls_x509_cert_dir") or DEFAULT_FOLDER),
        verify=verify != "0" if verify else defaults.verify,
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
    values: dict[str, str] = {}
    for match in _LINE.finditer(text):
        values.setdefault(match[1], next(one for one in match.groups()[1:] if one is not None))
    return values
