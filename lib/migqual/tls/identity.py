"""The certificates of a host: ours in the place of its own, for as long as they are needed.

The folder that was there is moved aside whole, and a qemu.conf that must change is copied first;
the journal knows how to put both back before either is touched.
"""

import hashlib
import io
import ipaddress
import re
import tarfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import PurePosixPath

from migqual.errors import HostError
from migqual.hosts import daemon
from migqual.hosts.host import Host
from migqual.hosts.journal import Argv, Journal, Made
from migqual.hosts.volume import undo as undone
from migqual.tls import aside, settings
from migqual.tls.authority import KEYS, Authority, Files
from migqual.tls.settings import MIGRATION_FOLDER, QEMU_CONF, VERIFIES_SINCE, Defaults, Settings

# an inventory may call a host what no certificate can bear, e.g. with an underscore
_CERTIFIABLE = re.compile(r"^[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?$")
_OWNERS = ("libvirt-qemu", "qemu")  # as distributions call who QEMU runs as
# libvirt takes a number after a plus, or where nobody bears the name
_IDS = """\
case $1 in +*) user=${1#+} ;; *) user=$(id -u -- "$1" 2>/dev/null) || user=$1 ;; esac
case $2 in
    "") group=$(id -g -- "${1#+}" 2>/dev/null) || group=$user ;;
    +*) group=${2#+} ;;
    *) group=$(getent group -- "$2" | cut -d: -f3); group=${group:-$2} ;;
esac
echo "$user $group\""""


@dataclass(frozen=True)
class Owner:
    """Who QEMU runs as; `name` as the host calls it."""

    user: int
    group: int
    name: str


def names_of(host: Host) -> tuple[str, ...]:
    """What a certificate of that host bears: what it is called, and where guests are sent to."""
    names = (host.entry.name, address_of(host))
    return tuple(dict.fromkeys(name for name in names if _is_certifiable(name)))


def address_of(host: Host) -> str:
    """Where guests are sent to: what QEMU compares the destination's certificate with."""
    return host.entry.migration_address or host.entry.address


def _is_certifiable(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return bool(_CERTIFIABLE.match(name))
    return True


def settings_of(host: Host) -> Settings:
    """What is in force on it: its qemu.conf, and libvirt's defaults where that says nothing."""
    return settings.read(_conf(host), _defaults(host))


def is_since(host: Host, version: tuple[int, ...]) -> bool:
    """Whether its libvirt is of that version or later."""
    return tuple(map(int, host.libvirt.versions()["libvirt"].split("."))) >= version


def _defaults(host: Host) -> Defaults:
    there = host.shell.attempt("test", "-e", MIGRATION_FOLDER).status == 0
    return Defaults(is_since(host, VERIFIES_SINCE), MIGRATION_FOLDER if there else None)


def _conf(host: Host) -> str:
    return host.shell.attempt("cat", QEMU_CONF).stdout


def state_of(host: Host) -> str:
    """Sums of qemu.conf and of all files in the folder of certificates: did anything change?"""
    script = 'sha256sum -- "$1"; cd -- "$2" 2>/dev/null && find . -type f -exec sha256sum {} +'
    done = host.shell.attempt("sh", "-c", script, "sh", QEMU_CONF, settings_of(host).folder)
    return "\n".join(sorted(done.stdout.splitlines()))


class Identity:
    """One host's certificates and settings of encryption, until `put_back`.

    tag    names what was moved aside, after the run
    found  the host's settings before anything was changed
    """

    def __init__(self, host: Host, journal: Journal, tag: str) -> None:
        self.host = host
        self.found = settings_of(host)
        self._journal = journal
        self._tag = tag
        self._made: list[Made] = []
        self._owner = owner_of(host, self.found)

    @property
    def folder(self) -> PurePosixPath:
        return self.found.folder

    def install(self, files: Files) -> None:
        """Put `files` where QEMU looks for them, in the place of what is there. Keys are readable
        for QEMU alone. QEMU reads them anew for every migration: nothing is restarted.

        Raises `HostError` when somebody has changed what we had put there.
        """
        folder = str(self.folder)
        archive = _archive(files, self._owner, self._tag)
        undo = [self._script(aside.FOLDER_BACK, folder), *self._parent()]
        self._once("certificates", folder, undo, aside.FOLDER_ASIDE)
        self._do(aside.FOLDER_PUT, folder, stdin=archive)

    def configure(self, **values: int) -> None:
        """Set keys of qemu.conf, and restart the daemon if that changed anything, or if an earlier
        change was left without.

        Raises `HostError` when somebody has changed what we had written.
        """
        conf = str(QEMU_CONF)
        before, unless = _conf(self.host), _defaults(self.host)
        after = settings.changed(before, **values)
        if settings.read(before, unless) != settings.read(after, unless):
            undo = [self._script(aside.FILE_BACK, conf, daemon.unit(self.host))]
            self._once("settings", conf, undo, aside.FILE_ASIDE)
            self._do(aside.FILE_PUT, conf, stdin=after.encode())
        elif self.host.shell.attempt(*self._script(aside.RESTART_OWED, conf)).status != 0:
            return
        daemon.restart(self.host)
        self._do(aside.RESTARTED, conf)

    def put_back(self) -> None:
        """As it was before `install` and `configure`. What cannot be put back stays in the journal;
        raises `HostError` for the last of it, when the rest is back."""
        failed: HostError | None = None
        for made in reversed(self._made):
            try:
                undone(self.host, made)
            except HostError as error:
                failed = error
                continue
            if made.kind == "settings":
                self.host.libvirt.close()
            self._journal.removed(made)
        self._made.clear()
        if failed is not None:
            raise failed

    def _once(self, kind: str, name: str, undo: Sequence[Argv], script: str) -> None:
        if not any(made.kind == kind for made in self._made):
            self._made.append(self._journal.record(self.host.name, kind, name, undo))
            self._do(script, name)

    def _script(self, script: str, name: str, *more: str) -> Argv:
        return ("sh", "-c", script, "sh", name, self._tag, *more)

    def _do(self, script: str, name: str, stdin: bytes = b"") -> None:
        done = self.host.shell.attempt(*self._script(script, name), stdin=stdin)
        if done.status != 0:
            raise HostError(self.host.name, f"{name}: {done.stderr.strip() or done.status}")

    def _parent(self) -> list[Argv]:
        """Removes the folder above again, if it is not there yet."""
        parent = str(self.folder.parent)
        there = self.host.shell.attempt("test", "-e", parent).status == 0
        return [] if there else [("sh", "-c", aside.PARENT_BACK, "sh", parent)]


@contextmanager
def installed(
    hosts: Sequence[Host], authority: Authority, journal: Journal, tag: str
) -> Iterator[dict[str, Identity]]:
    """Certificates of one authority on every host, peers verified and nothing forced, while the
    block runs. By the host's name."""
    found: dict[str, Identity] = {}
    with ExitStack() as stack:
        for host in hosts:
            identity = Identity(host, journal, tag)
            stack.callback(identity.put_back)
            identity.install(authority.files(names_of(host)))
            identity.configure(migrate_tls_x509_verify=1, migrate_tls_force=0)
            found[host.name] = identity
        yield found


def owner_of(host: Host, found: Settings) -> Owner:
    """Who QEMU runs as: qemu.conf's, else the distribution's. Raises `HostError` for nobody."""
    names = [found.user] if found.user else _OWNERS
    there = [one for one in names if found.user or _has_user(host, one)]
    user = there[0] if there else "root"
    ids = host.shell.run("sh", "-c", _IDS, "sh", user, found.group).stdout.split()
    if len(ids) != 2 or not all(one.isdigit() for one in ids):
        words = f"{QEMU_CONF}: no user {user!r} or no group {found.group!r}"
        raise HostError(host.name, words, remedy="name those that the host has")
    return Owner(int(ids[0]), int(ids[1]), user)


def _has_user(host: Host, name: str) -> bool:
    return host.shell.attempt("getent", "passwd", name).status == 0


def _archive(files: Files, owner: Owner, tag: str) -> bytes:
    """A tar of the files with their owners and rights, and the mark by which we know our own: the
    sum of each, as `sha256sum` prints it."""
    sums = {name: hashlib.sha256(data).hexdigest() for name, data in files.items()}
    mark = "".join(f"{one}  ./{name}\n" for name, one in sums.items()).encode()
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for name, data in {f".{tag}": mark, **files}.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            entry.mode = 0o600 if name in KEYS else 0o644
            entry.uid, entry.gid = owner.user, owner.group
            archive.addfile(entry, io.BytesIO(data))
    return out.getvalue()
