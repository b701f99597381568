"""Read the TLS settings and the user of QEMU on a host."""

from dataclasses import dataclass

from migqual.errors import HostError
from migqual.hosts.host import Host
from migqual.tls import qemu_conf
from migqual.tls.qemu_conf import (
    MIGRATION_CERTIFICATE_FOLDER,
    QEMU_CONF,
    VERIFY_DEFAULT_SINCE,
    TlsDefaults,
    TlsSettings,
)

_DEFAULT_QEMU_USERS = ("libvirt-qemu", "qemu")  # names in the packages of distributions
# `user` and `group` in qemu.conf are names or numeric ids. A text with a plus sign, such as +107,
# is always an id. For other texts libvirt looks for a name first; an unknown name can be an id.
_RESOLVE_IDS_SCRIPT = """\
case $1 in +*) user=${1#+} ;; *) user=$(id -u -- "$1" 2>/dev/null) || user=$1 ;; esac
case $2 in
    "") group=$(id -g -- "${1#+}" 2>/dev/null) || group=$user ;;
    +*) group=${2#+} ;;
    *) group=$(getent group -- "$2" | cut -d: -f3); group=${group:-$2} ;;
esac
echo "$user $group\""""


@dataclass(frozen=True)
class QemuUser:
    """The user and the group of QEMU on a host.

    Attributes:
        uid: User id.
        gid: Group id.
        name: Name of the user on the host.
    """

    uid: int
    gid: int
    name: str


def read_tls_settings(host: Host) -> TlsSettings:
    """Read the TLS settings in force on the host, from qemu.conf or else libvirt's defaults."""
    return qemu_conf.parse_qemu_conf(read_qemu_conf(host), read_tls_defaults(host))


def is_libvirt_at_least(host: Host, version: tuple[int, ...]) -> bool:
    """Return whether libvirt on the host has the version `version` or a later version."""
    return tuple(map(int, host.libvirt.query_versions()["libvirt"].split("."))) >= version


def read_tls_defaults(host: Host) -> TlsDefaults:
    """Read libvirt's defaults on the host for TLS settings that are missing in qemu.conf."""
    has_migration_folder = (
        host.shell.run_unchecked("test", "-e", MIGRATION_CERTIFICATE_FOLDER).status == 0
    )
    return TlsDefaults(
        is_libvirt_at_least(host, VERIFY_DEFAULT_SINCE),
        MIGRATION_CERTIFICATE_FOLDER if has_migration_folder else None,
    )


def read_qemu_conf(host: Host) -> str:
    """Return the text of qemu.conf on the host, or an empty text if the file does not exist."""
    return host.shell.run_unchecked("cat", QEMU_CONF).stdout


def find_qemu_user(host: Host, tls_settings: TlsSettings) -> QemuUser:
    """Find the user and the group of QEMU on the host.

    The names come from qemu.conf. Without names in qemu.conf, the function tries the usual names
    of distributions, and then root.

    Raises:
        HostError: The user or the group does not exist on the host.
    """
    candidates = [tls_settings.user] if tls_settings.user else _DEFAULT_QEMU_USERS
    existing_users = [name for name in candidates if tls_settings.user or _has_user(host, name)]
    user = existing_users[0] if existing_users else "root"
    ids = host.shell.run(
        "sh", "-c", _RESOLVE_IDS_SCRIPT, "sh", user, tls_settings.group
    ).stdout.split()
    if len(ids) != 2 or not all(number.isdigit() for number in ids):
        message = f"{QEMU_CONF}: user {user!r} or group {tls_settings.group!r} does not exist"
        raise HostError(
            host.name,
            message,
            remedy=f"on {host.name}, set `user` and `group` in {QEMU_CONF} to existing names",
        )
    return QemuUser(int(ids[0]), int(ids[1]), user)


def _has_user(host: Host, name: str) -> bool:
    return host.shell.run_unchecked("getent", "passwd", name).status == 0
