"""LM-NSS-01: source and destination are never the same image, whatever it is called."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import PurePosixPath

import pytest

from fixtures.plugins.guests import MakeGuest, StackDid
from fixtures.plugins.hosts import Pair
from migqual.hosts.guest import Guest
from migqual.hosts.host import Host
from migqual.hosts.provision import Provisioner
from migqual.model.guest import DiskFormat, DiskSpec, GuestSpec
from migqual.model.inventory import StoreKind
from migqual.model.outcome import Outcome
from migqual.model.plan import Images, Plan, Safety, StorageCopy
from suites.local_storage.disks import arrange, fill
from suites.storage_restrictions.refusals import refused, unguarded

Migrate = Callable[..., Outcome]

# part of the disk that the guest's load never writes to
QUIET_MIB, QUIET_SIZE_MIB = 40, 4
COPY = Plan(copy_storage=StorageCopy.ALL, images=Images.PRESENT, safety=Safety.UNSAFE)


@dataclass(frozen=True)
class Place:
    """Where a test hides that the destination's image is the source's own."""

    provision: Provisioner
    guest: Guest
    host: Host

    @property
    def image(self) -> PurePosixPath:
        return self.guest.volumes[0].path

    @property
    def alias(self) -> PurePosixPath:
        """A path of the destination's own."""
        store = self.provision.inventory.store(StoreKind.LOCAL)
        return PurePosixPath(str(getattr(store, "path", ""))) / f"{self.guest.name}-alias.raw"

    def arrange(self, what: str, do: list[tuple[str, ...]], *undo: tuple[str, ...]) -> None:
        folder = ("mkdir", "-p", str(self.alias.parent))
        arrange(self.provision, self.guest, self.host, what, [folder, *do], undo)


def same_path(_place: Place) -> str | None:
    return None


def symlink(place: Place) -> str:
    alias = str(place.alias)
    place.arrange("symlink", [("ln", "-s", str(place.image), alias)], ("rm", "-f", "--", alias))
    return with_path(place, alias)


def hard_link(place: Place) -> str:
    alias = str(place.image.with_name(f"{place.guest.name}-alias.raw"))
    place.arrange("hard link", [("ln", str(place.image), alias)], ("rm", "-f", "--", alias))
    return with_path(place, alias)


def bind_mount(place: Place) -> str:
    alias = str(place.alias)
    place.arrange(
        "bind mount",
        [("touch", alias), ("mount", "--bind", str(place.image), alias)],
        ("umount", "-l", alias),
        ("rm", "-f", "--", alias),
    )
    return with_path(place, alias)


def second_mount(place: Place) -> str:
    folder = str(place.alias.with_suffix(".store"))
    place.arrange(
        "second mount",
        [("mkdir", "-p", folder), ("mount", "--bind", str(place.image.parent), folder)],
        ("umount", "-l", folder),
        ("rmdir", folder),
    )
    return with_path(place, f"{folder}/{place.image.name}")


HIDINGS: Mapping[str, Callable[[Place], str | None]] = {
    "same-path": same_path,
    "symlink": symlink,
    "hard-link": hard_link,
    "bind-mount": bind_mount,
    "second-mount": second_mount,
}


@pytest.mark.requirement("LM-NSS-01")
@pytest.mark.parametrize(
    "hiding",
    [
        pytest.param(name, marks=[pytest.mark.long] * (name in {"hard-link", "second-mount"}))
        for name in HIDINGS
    ],
)
def test_one_image_under_two_names(
    hiding: str,
    make_guest: MakeGuest,
    migrate: Migrate,
    pair: Pair,
    provision: Provisioner,
    stack_did: StackDid,
) -> None:
    """
    A disk is not copied onto the very file that it is read from.

    Preconditions: an image on the shared directory, which the destination is given under its own
    name or under another.
    Expected: with the guard refused, the proof told; without it, what the stack does is recorded.
    Either way not a byte of the image is damaged, and the guest runs.
    """
    guest = make_guest(GuestSpec(disks=(DiskSpec(StoreKind.DIRECTORY, DiskFormat.RAW),)))
    fill(guest, "vda", QUIET_MIB, QUIET_SIZE_MIB)
    xml = HIDINGS[hiding](Place(provision, guest, pair.destination))
    plan = replace(COPY, destination_xml=xml)
    before = digest(pair.source, guest.volumes[0].path)

    finding = refused(migrate, guest, plan, "LM-NSS-01.image")

    assert pair.destination.name in finding.words
    assert digest(pair.source, guest.volumes[0].path) == before
    stack_did(guest, unguarded(plan))
    assert digest(pair.source, guest.volumes[0].path) == before


@pytest.mark.requirement("LM-NSS-01")
@pytest.mark.parametrize("store", [StoreKind.NBD, StoreKind.ISCSI], ids=str)
def test_one_export_under_two_names(
    store: StoreKind,
    make_guest: MakeGuest,
    migrate: Migrate,
    provision: Provisioner,
) -> None:
    """
    A network disk that the server offers under a second name is still the same disk.

    Preconditions: a second export, or target, over the image of the first.
    Expected: refused; not a byte of the image is damaged.
    """
    guest = make_guest(GuestSpec(disks=(DiskSpec(store),)))
    fill(guest, "vda", QUIET_MIB, QUIET_SIZE_MIB)
    server = provision.hosts[guest.volumes[0].host]
    place = Place(provision, guest, server)
    xml = second_export(place) if store is StoreKind.NBD else second_target(place)
    before = digest(server, guest.volumes[0].path)

    refused(migrate, guest, replace(COPY, destination_xml=xml), "LM-NSS-01.image")

    assert digest(server, guest.volumes[0].path) == before


def with_path(place: Place, path: str) -> str:
    """The definition for the destination, with the image under another path."""
    return renamed(place.guest.domain.xml(), (f"'{place.image}'", f"'{path}'"))


def renamed(xml: str, *pairs: tuple[str, str]) -> str:
    """`xml` with each old text replaced; one that is not there would hide nothing."""
    for old, new in pairs:
        assert old in xml, f"the definition does not hold {old}"
        xml = xml.replace(old, new)
    return xml


def second_export(place: Place) -> str:
    """The image's NBD server again, on another port and under another name."""
    volume = place.guest.volumes[0]
    port = volume.port + 1000
    name, pid_file = f"{volume.export}-again", f"{volume.path}.again.pid"
    file = f"driver=raw,file.driver=file,file.locking=off,file.filename={volume.path}"
    serve = (
        *("qemu-nbd", "--fork", "--persistent", "--shared=8", f"--bind={volume.address}"),
        *(f"--port={port}", f"--export-name={name}", f"--pid-file={pid_file}"),
        *("--image-opts", file),
    )
    place.arrange("second export", [serve], ("pkill", "-F", pid_file), ("rm", "-f", "--", pid_file))
    return renamed(
        place.guest.domain.xml(),
        (f"'{volume.export}'", f"'{name}'"),
        (f"port='{volume.port}'", f"port='{port}'"),
    )


def second_target(place: Place) -> str:
    """The image's iSCSI target again, under another name."""
    volume = place.guest.volumes[0]
    first = volume.export.removesuffix("/1")
    name, number = f"{first}-again", str(20500 + sum(first.encode()) % 1000)
    tgt = ("tgtadm", "--lld", "iscsi")
    place.arrange(
        "second target",
        [
            (*tgt, "--mode", "target", "--op", "new", "--tid", number, "-T", name),
            (
                *(*tgt, "--mode", "logicalunit", "--op", "new", "--tid", number),
                *("--lun", "1", "-b", str(volume.path)),
            ),
            (*tgt, "--mode", "target", "--op", "bind", "--tid", number, "-I", "ALL"),
        ],
        (*tgt, "--mode", "target", "--op", "delete", "--force", "--tid", number),
    )
    return renamed(place.guest.domain.xml(), (f"'{volume.export}'", f"'{name}/1'"))


def digest(host: Host, path: PurePosixPath) -> str:
    """Checksum of the part of a raw image that only the test wrote to."""
    script = f'dd if="$1" bs=1M skip={QUIET_MIB} count={QUIET_SIZE_MIB} status=none | sha256sum'
    return host.shell.run("sh", "-c", script, "sh", path).stdout.split()[0]
