"""Disks on the stores of an inventory: made, exported, removed."""

import itertools
from dataclasses import dataclass
from pathlib import PurePosixPath

from migqual.errors import ConnectionLost, HostError, StackError
from migqual.hosts.host import Host
from migqual.hosts.journal import Journal, Made
from migqual.model.guest import DiskFormat, DiskSpec, Medium
from migqual.model.inventory import DirectoryStore, IscsiStore, LocalStore, NbdStore, Store

QCOW2_ROOM_MIB = 16  # tables and rounding, of any image that a suite makes


@dataclass(frozen=True)
class Volume:
    """A disk image and how QEMU reaches it: a file, or an export of the storage host. Of type
    ``none`` in an empty drive."""

    type: str
    path: PurePosixPath
    host: str
    protocol: str = ""
    export: str = ""
    address: str = ""
    port: int = 0


class Volumes:
    """Makes volumes and writes each into the journal first."""

    def __init__(self, journal: Journal, hosts: dict[str, Host]) -> None:
        self._journal = journal
        self._hosts = hosts
        self._ports = itertools.count()

    def make(
        self, name: str, spec: DiskSpec, store: Store, near: Host
    ) -> tuple[Volume, list[Made]]:
        """A new volume of `spec`, called `name`. `near` is the host that makes files of a
        directory store. Returns the journal's entries, in the order they were made."""
        if spec.medium is Medium.EMPTY_CDROM:
            return Volume("none", PurePosixPath(), near.name), []
        match store:
            case DirectoryStore() | LocalStore():
                return self._file(name, spec, store.path, near)
            case NbdStore():
                return self._nbd(name, spec, store)
            case IscsiStore():
                return self._iscsi(name, spec, store)

    def remove(self, made: list[Made]) -> None:
        """Remove them, newest first. One that cannot be removed stays in the journal and does not
        keep the others; its `HostError` is raised at the end. A host that is lost is not tried
        again."""
        kept: list[HostError] = []
        lost: set[str] = set()
        for entry in reversed(made):
            if entry.host in lost:
                continue
            try:
                undo(self._hosts[entry.host], entry)
            except HostError as error:
                kept.append(error)
                lost |= {entry.host} if isinstance(error, ConnectionLost) else set()
            else:
                self._journal.removed(entry)
        if kept:
            raise kept[0]

    def _file(
        self, name: str, spec: DiskSpec, store: PurePosixPath, near: Host
    ) -> tuple[Volume, list[Made]]:
        path = folder_of(name, spec, store) / f"{name}.{spec.format}"
        made = [self.folder(near, path.parent)] if spec.folder else []
        base = path.with_suffix(".base")
        options = [word for option in spec.options for word in ("-o", option)]
        if spec.backed:
            made.append(self._image(near, base, spec))
            # contents that no other image has, at its beginning and its end
            ends = (
                f"write -P {sum(name.encode()) % 255 + 1} {at}M 1M" for at in (1, spec.size_mib - 1)
            )
            commands = [word for command in ends for word in ("-c", command)]
            near.shell.run("qemu-io", "-f", spec.format, *commands, base)
            options += ["-b", str(base), "-F", spec.format]
        made.append(self._image(near, path, spec, *options))
        return Volume("file", path, near.name), made

    def folder(self, host: Host, folder: PurePosixPath) -> Made:
        """A folder for images. It goes when it is empty."""
        made = self._journal.record(host.name, "folder", str(folder), [("rmdir", str(folder))])
        host.shell.run("mkdir", "-p", folder)
        return made

    def _exported_image(self, host: Host, path: PurePosixPath, spec: DiskSpec) -> Made:
        """An image that an export of fixed size can hold: qcow2 grows, an export does not."""
        made = self._image(host, path, spec)
        if spec.format is DiskFormat.QCOW2:
            host.shell.run("truncate", "-s", f"{spec.size_mib + QCOW2_ROOM_MIB}M", path)
        return made

    def _image(self, host: Host, path: PurePosixPath, spec: DiskSpec, *options: str) -> Made:
        host.shell.open()  # a server that is away has nothing to remove
        made = self._journal.record(host.name, "image", str(path), [("rm", "-f", "--", str(path))])
        host.shell.run("mkdir", "-p", path.parent)
        size = f"{spec.size_mib}M"
        host.shell.run("qemu-img", "create", "-q", "-f", spec.format, *options, path, size)
        return made

    def _nbd(self, name: str, spec: DiskSpec, store: NbdStore) -> tuple[Volume, list[Made]]:
        server = self._hosts[store.server]
        path = store.directory / f"{name}.{spec.format}"
        image = self._exported_image(server, path, spec)
        pid_file = path.with_suffix(".pid")
        undo_argv = (("pkill", "-F", str(pid_file)), ("rm", "-f", "--", str(pid_file)))
        made = self._journal.record(server.name, "nbd export", name, undo_argv)
        for _ in store.ports:
            port = self._port(name, store)
            argv = (
                *("qemu-nbd", "--fork", "--persistent", "--shared=8", "--cache=none"),
                *("--discard=unmap", "--format=raw", f"--bind={store.address}", f"--port={port}"),
                *(f"--export-name={name}", f"--pid-file={pid_file}", str(path)),
            )
            done = server.shell.attempt(*argv)
            if done.status == 0:
                volume = Volume("network", path, server.name, "nbd", name, store.address, port)
                return volume, [image, made]
            if "in use" not in done.stderr:
                raise HostError(server.name, f"qemu-nbd: {done.stderr.strip()}")
        raise HostError(
            server.name,
            f"no free port in {store.ports.start}-{store.ports.stop - 1}",
            remedy="widen `ports` of the store, or run `migqual sweep`",
        )

    def _port(self, name: str, store: NbdStore) -> int:
        # workers start at different places, so that they seldom meet
        start = sum(name.encode()) * 7
        return store.ports[(start + next(self._ports)) % len(store.ports)]

    def _iscsi(self, name: str, spec: DiskSpec, store: IscsiStore) -> tuple[Volume, list[Made]]:
        server = self._hosts[store.server]
        path = store.directory / f"{name}.{spec.format}"
        image = self._exported_image(server, path, spec)
        target = f"{store.target}.{name}"
        tgt = ("tgtadm", "--lld", "iscsi")
        start = 1 + sum(name.encode()) * 31 % 20000
        for number in range(start, start + 200):
            tid = ("--tid", str(number))
            made = self._journal.record(
                server.name,
                "iscsi target",
                target,
                [("sh", "-c", _DELETE_TARGET, "sh", target)],
            )
            new = server.shell.attempt(*tgt, "--mode", "target", "--op", "new", *tid, "-T", target)
            if new.status == 0:
                break
            self._journal.removed(made)
            if "already exists" not in new.stderr:
                raise HostError(server.name, f"tgtadm: {new.stderr.strip()}")
        lun = ("--mode", "logicalunit", "--op", "new", *tid, "--lun", "1", "-b", str(path))
        server.shell.run(*tgt, *lun)
        server.shell.run(*tgt, "--mode", "target", "--op", "bind", *tid, "-I", "ALL")
        volume = Volume(
            "network", path, server.name, "iscsi", f"{target}/1", store.address, store.port
        )
        return volume, [image, made]


def folder_of(name: str, spec: DiskSpec, store: PurePosixPath) -> PurePosixPath:
    """Where the image called `name` lies on a store of files."""
    return store / f"{name}.{spec.folder}" if spec.folder else store


MOVED_ASIDE = ("certificates", "settings")
# the number of a target is found by its name: the journal is written before it has one
_DELETE_TARGET = (
    'tgtadm --lld iscsi --mode target --op show | awk -v name="$1" '
    '\'/^Target/ && $3 == name {sub(":", "", $2); print $2}\' | '
    "xargs -r -n1 tgtadm --lld iscsi --mode target --op delete --force --tid"
)


def undo(host: Host, made: Made) -> None:
    """Remove what the entry names; not an error when it is gone already.

    Raises `HostError` where libvirt does not let go of a domain, or what was there before us did
    not come back.
    """
    if made.kind == "domain":
        _forget(host, made.name)
    for argv in made.undo:
        done = host.shell.attempt(*argv)
        if made.kind in MOVED_ASIDE and done.status != 0:
            raise HostError(host.name, done.stderr.strip() or f"exit status {done.status}")


def _forget(host: Host, name: str) -> None:
    domain = host.libvirt.lookup(name)
    if domain is None:
        return
    try:
        domain.destroy()
        domain.undefine()
    except StackError as error:
        # libvirt 9.0 keeps the job of a migration whose source died in post-copy for ever
        raise HostError(
            host.name,
            f"domain {name} cannot be removed: {error.message}",
            remedy=f"restart libvirt's daemon on {host.name}, its guests run on; "
            "then `migqual sweep`",
        ) from error
    if host.libvirt.lookup(name) is not None:
        raise HostError(host.name, f"domain {name} is still there, though libvirt removed it")
