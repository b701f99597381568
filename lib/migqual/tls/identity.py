"""The certificates of a host: ours in the place of its own, for as long as they are needed.

The folder that was there is moved aside whole, and a qemu.conf that must change is copied first;
the journal knows how to put both back before either is touched.
"""

import io
import re
import tarfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import PurePosixPath

from migqual.hosts import daemon
from migqual.hosts.host import Host
from migqual.hosts.journal import Argv, Journal, Made
from migqual.tls import settings
from migqual.tls.authority import KEYS, Authority, Files
from migqual.tls.settings import QEMU_CONF, Settings

# an inventory may call a host what no certificate can bear, e.g. with an underscore
_CERTIFIABLE = re.compile(r"^[A-Za-z0-9]([A-Za-z0-9.:-]*[A-Za-z0-9])?$")
_OWNERS = ("libvirt-qemu", "qemu")  # as distributions call who QEMU runs as

_ASIDE = """\
if test -e "$1" && ! test -e "$1.$2" && ! test -e "$1/.$2"; then mv -T -- "$1" "$1.$2"; fi"""
# new ones are complete before the old ones go
_PUT = """\
set -e
rm -rf -- "$1.$2.new"; mkdir -p -m 755 -- "$1.$2.new"; tar -xpf - -C "$1.$2.new"
rm -rf -- "$1"; mv -T -- "$1.$2.new" "$1\""""
_BACK = """\
if test -e "$1/.$2"; then rm -rf -- "$1"; fi
rm -rf -- "$1.$2.new"
if test -e "$1.$2" && ! test -e "$1"; then mv -T -- "$1.$2" "$1"; fi"""
_CONF_ASIDE = 'test -e "$1.$2" || cp -a -- "$1" "$1.$2"'
_CONF_BACK = """\
if test -e "$1.$2"; then mv -T -- "$1.$2" "$1" && systemctl try-restart "$3.service"; fi"""
_WRITE = 'cat > "$1"'  # keeps owner and rights


def names_of(host: Host) -> tuple[str, ...]:
    """What a certificate of that host must bear: QEMU compares with the address it was told."""
    entry = host.entry
    names = (entry.name, entry.migration_address or entry.address)
    return tuple(dict.fromkeys(name for name in names if _CERTIFIABLE.match(name)))


def settings_of(host: Host) -> Settings:
    """What its qemu.conf says now; defaults where there is none."""
    return settings.read(_conf(host))


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
        for QEMU alone. QEMU reads them anew for every migration: nothing is restarted."""
        folder = str(self.folder)
        undo = [("sh", "-c", _BACK, "sh", folder, self._tag), *self._parent()]
        self._once("certificates", folder, undo, ("sh", "-c", _ASIDE, "sh", folder, self._tag))
        self.host.shell.run(
            *("sh", "-c", _PUT, "sh", folder, self._tag),
            stdin=_archive(files, self._owner, self._tag),
        )

    def configure(self, **values: int) -> None:
        """Set keys of qemu.conf, and restart the daemon if that changed anything."""
        conf = str(QEMU_CONF)
        before = _conf(self.host)
        after = settings.changed(before, **values)
        if settings.read(before) == settings.read(after):
            return
        unit = daemon.unit(self.host)
        undo = [("sh", "-c", _CONF_BACK, "sh", conf, self._tag, unit)]
        self._once("settings", conf, undo, ("sh", "-c", _CONF_ASIDE, "sh", conf, self._tag))
        self.host.shell.run("sh", "-c", _WRITE, "sh", conf, stdin=after.encode())
        daemon.restart(self.host)

    def put_back(self) -> None:
        """As it was before `install` and `configure`."""
        for made in reversed(self._made):
            for argv in made.undo:
                self.host.shell.run(*argv)
            if made.kind == "settings":
                self.host.libvirt.close()
            self._journal.removed(made)
        self._made.clear()

    def _once(self, kind: str, name: str, undo: Sequence[Argv], do: Argv) -> None:
        if not any(made.kind == kind for made in self._made):
            self._made.append(self._journal.record(self.host.name, kind, name, undo))
            self.host.shell.run(*do)

    def _parent(self) -> list[Argv]:
        """Removes the folder above again, if it is not there yet."""
        parent = str(self.folder.parent)
        there = self.host.shell.attempt("test", "-e", parent).status == 0
        return [] if there else [("rmdir", "--ignore-fail-on-non-empty", "--", parent)]


@contextmanager
def installed(
    hosts: Sequence[Host], authority: Authority, journal: Journal, tag: str
) -> Iterator[dict[str, Identity]]:
    """Certificates of one authority on every host, peers verified, while the block runs. By the
    host's name."""
    found: dict[str, Identity] = {}
    with ExitStack() as stack:
        for host in hosts:
            identity = Identity(host, journal, tag)
            stack.callback(identity.put_back)
            identity.install(authority.files(names_of(host)))
            identity.configure(migrate_tls_x509_verify=1)
            found[host.name] = identity
        yield found


def owner_of(host: Host, found: Settings) -> tuple[str, str]:
    """User and group that QEMU runs as: qemu.conf's, else the distribution's."""
    if found.user:
        return found.user.lstrip("+"), (found.group or found.user).lstrip("+")
    for name in _OWNERS:
        if host.shell.attempt("getent", "passwd", name).status == 0:
            return name, host.shell.run("id", "-gn", name).stdout.strip()
    return "root", "root"


def _archive(files: Files, owner: tuple[str, str], tag: str) -> bytes:
    """A tar of the files with their owners and rights, and the mark by which we know our own."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for name, data in {f".{tag}": b"", **files}.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            entry.mode = 0o600 if name in KEYS else 0o644
            if owner[0].isdigit():
                entry.uid, entry.gid = int(owner[0]), int(owner[1])
            else:
                entry.uname, entry.gname = owner
            archive.addfile(entry, io.BytesIO(data))
    return out.getvalue()
