"""LM-NSS-01: source and destination are never the same image, under any name."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import PurePosixPath

import pytest

from fixtures.plugins.guests import RecordUnguardedMigration
from migqual.hosts.guest import Guest
from migqual.hosts.host import Host
from migqual.hosts.nbd_server import build_nbd_server_command
from migqual.hosts.pid_file import build_stop_command
from migqual.hosts.provision import Provisioner
from migqual.inventory.stores import StoreKind
from migqual.model.guest_spec import DiskFormat, DiskSpec, GuestSpec
from migqual.model.plan import DestinationImages, Plan, Safety, StorageCopy
from migqual.testbed.testbed import Testbed
from suites.support.disks import apply_temporary_change, fill_disk
from suites.support.guard_refusals import disable_guard, expect_guard_refusal

# part of the disk that the guest's load never writes to
UNTOUCHED_OFFSET_MIB, UNTOUCHED_SIZE_MIB = 40, 4
UNSAFE_PRESENT_IMAGES_PLAN = Plan(
    copy_storage=StorageCopy.ALL,
    destination_images=DestinationImages.EXISTING,
    safety=Safety.UNSAFE,
)


@dataclass(frozen=True)
class ImageAlias:
    """A second name of the guest's image, for example a symbolic link or a second NBD export.

    The definition for the destination contains this name as if it were the name of another image.

    Attributes:
        provisioner: The provisioner of the test run.
        guest: The guest with the image.
        host: The host on which the test creates the second name.
    """

    provisioner: Provisioner
    guest: Guest
    host: Host

    @property
    def image(self) -> PurePosixPath:
        return self.guest.volumes[0].path

    @property
    def path(self) -> PurePosixPath:
        """Return a path in the local store for a second name of the image, e.g. a symbolic link."""
        store = self.provisioner.inventory.find_store(StoreKind.LOCAL)
        return PurePosixPath(str(getattr(store, "path", ""))) / f"{self.guest.name}-alias.raw"

    def apply_temporary_change(
        self, description: str, commands: list[tuple[str, ...]], *undo_commands: tuple[str, ...]
    ) -> None:
        mkdir_command = ("mkdir", "-p", str(self.path.parent))
        apply_temporary_change(
            self.provisioner,
            self.guest,
            self.host,
            description,
            [mkdir_command, *commands],
            undo_commands,
        )


def keep_same_path(_image_alias: ImageAlias) -> str | None:
    return None


def create_symlink(image_alias: ImageAlias) -> str:
    alias_path = str(image_alias.path)
    image_alias.apply_temporary_change(
        "symlink",
        [("ln", "-s", str(image_alias.image), alias_path)],
        ("rm", "-f", "--", alias_path),
    )
    return render_destination_xml(image_alias, alias_path)


def create_hard_link(image_alias: ImageAlias) -> str:
    alias_path = str(image_alias.image.with_name(f"{image_alias.guest.name}-alias.raw"))
    image_alias.apply_temporary_change(
        "hard link", [("ln", str(image_alias.image), alias_path)], ("rm", "-f", "--", alias_path)
    )
    return render_destination_xml(image_alias, alias_path)


def create_bind_mount(image_alias: ImageAlias) -> str:
    alias_path = str(image_alias.path)
    image_alias.apply_temporary_change(
        "bind mount",
        [("touch", alias_path), ("mount", "--bind", str(image_alias.image), alias_path)],
        ("umount", "-l", alias_path),
        ("rm", "-f", "--", alias_path),
    )
    return render_destination_xml(image_alias, alias_path)


def create_second_mount(image_alias: ImageAlias) -> str:
    folder = str(image_alias.path.with_suffix(".store"))
    image_alias.apply_temporary_change(
        "second mount",
        [("mkdir", "-p", folder), ("mount", "--bind", str(image_alias.image.parent), folder)],
        ("umount", "-l", folder),
        ("rmdir", folder),
    )
    return render_destination_xml(image_alias, f"{folder}/{image_alias.image.name}")


ALIAS_KINDS: Mapping[str, Callable[[ImageAlias], str | None]] = {
    "same-path": keep_same_path,
    "symlink": create_symlink,
    "hard-link": create_hard_link,
    "bind-mount": create_bind_mount,
    "second-mount": create_second_mount,
}


@pytest.mark.requirement("LM-NSS-01")
@pytest.mark.parametrize(
    "alias_kind",
    [
        pytest.param(name, marks=[pytest.mark.slow] * (name in {"hard-link", "second-mount"}))
        for name in ALIAS_KINDS
    ],
)
def test_one_image_under_two_names(
    alias_kind: str, testbed: Testbed, record_unguarded_migration: RecordUnguardedMigration
) -> None:
    """
    A migration does not copy an image onto itself.

    Preconditions: an image on the shared directory. The destination uses the same image, under
    the same path or under another path.
    Expected: the guard (the check that refuses unsafe migrations) refuses the migration. The test
    then migrates without the guard, and the report contains the result. After both attempts, the
    bytes that the test wrote to the image at the start are unchanged.
    """
    guest = testbed.make_guest(GuestSpec(disks=(DiskSpec(StoreKind.DIRECTORY, DiskFormat.RAW),)))
    fill_disk(guest, "vda", UNTOUCHED_OFFSET_MIB, UNTOUCHED_SIZE_MIB)
    xml = ALIAS_KINDS[alias_kind](ImageAlias(testbed.provisioner, guest, testbed.destination))
    plan = replace(UNSAFE_PRESENT_IMAGES_PLAN, destination_xml=xml)
    checksum_before = compute_checksum(testbed.source, guest.volumes[0].path)

    finding = expect_guard_refusal(testbed, guest, plan, "LM-NSS-01.image")

    assert testbed.destination.name in finding.message
    assert compute_checksum(testbed.source, guest.volumes[0].path) == checksum_before
    record_unguarded_migration(guest, disable_guard(plan))
    assert compute_checksum(testbed.source, guest.volumes[0].path) == checksum_before


@pytest.mark.requirement("LM-NSS-01")
@pytest.mark.parametrize("store", [StoreKind.NBD, StoreKind.ISCSI], ids=str)
def test_one_export_under_two_names(store: StoreKind, testbed: Testbed) -> None:
    """
    A network disk offered by the server under a second name is still the same disk.

    Preconditions: the server offers the image of the disk also as a second NBD export or as a
    second iSCSI target.
    Expected: the guard refuses the migration. The bytes that the test wrote to the image at the
    start are unchanged.
    """
    guest = testbed.make_guest(GuestSpec(disks=(DiskSpec(store),)))
    fill_disk(guest, "vda", UNTOUCHED_OFFSET_MIB, UNTOUCHED_SIZE_MIB)
    server = testbed.provisioner.hosts[guest.volumes[0].host]
    image_alias = ImageAlias(testbed.provisioner, guest, server)
    xml = (
        start_second_export(image_alias)
        if store is StoreKind.NBD
        else create_second_target(image_alias)
    )
    checksum_before = compute_checksum(server, guest.volumes[0].path)

    expect_guard_refusal(
        testbed, guest, replace(UNSAFE_PRESENT_IMAGES_PLAN, destination_xml=xml), "LM-NSS-01.image"
    )

    assert compute_checksum(server, guest.volumes[0].path) == checksum_before


def render_destination_xml(image_alias: ImageAlias, path: str) -> str:
    """Render the domain XML for the destination, with another path of the image."""
    return replace_in_xml(
        image_alias.guest.domain.read_migratable_xml(), (f"'{image_alias.image}'", f"'{path}'")
    )


def replace_in_xml(xml: str, *pairs: tuple[str, str]) -> str:
    """Replace each old text in `xml` by the new text, and fail when an old text is missing.

    Example: the old text is the path of the image, and the new text is the path of a symbolic link
    to the image.
    """
    for old, new in pairs:
        assert old in xml, f"the domain XML does not contain {old}"
        xml = xml.replace(old, new)
    return xml


def start_second_export(image_alias: ImageAlias) -> str:
    """Start a second NBD server for the image; return the domain XML for the destination.

    The server has another port and another export name.
    """
    volume = image_alias.guest.volumes[0]
    port = volume.port + 1000
    name, pid_file = f"{volume.export_name}-again", f"{volume.path}.again.pid"
    file = f"driver=raw,file.driver=file,file.locking=off,file.filename={volume.path}"
    options = ("--persistent", "--shared=8", f"--bind={volume.address}", "--image-opts")
    serve_command = build_nbd_server_command(
        port, file, *options, f"--export-name={name}", f"--pid-file={pid_file}"
    )
    image_alias.apply_temporary_change(
        "second export", [serve_command], build_stop_command(pid_file)
    )
    return replace_in_xml(
        image_alias.guest.domain.read_migratable_xml(),
        (f"'{volume.export_name}'", f"'{name}'"),
        (f"port='{volume.port}'", f"port='{port}'"),
    )


def create_second_target(image_alias: ImageAlias) -> str:
    """Create a second iSCSI target for the image; return the domain XML for the destination.

    The target has another name.
    """
    volume = image_alias.guest.volumes[0]
    first_target = volume.export_name.removesuffix("/1")
    name, number = f"{first_target}-again", str(20500 + sum(first_target.encode()) % 1000)
    tgtadm_command = ("tgtadm", "--lld", "iscsi")
    image_alias.apply_temporary_change(
        "second target",
        [
            (*tgtadm_command, "--mode", "target", "--op", "new", "--tid", number, "-T", name),
            (
                *(*tgtadm_command, "--mode", "logicalunit", "--op", "new", "--tid", number),
                *("--lun", "1", "-b", str(volume.path)),
            ),
            (*tgtadm_command, "--mode", "target", "--op", "bind", "--tid", number, "-I", "ALL"),
        ],
        (*tgtadm_command, "--mode", "target", "--op", "delete", "--force", "--tid", number),
    )
    return replace_in_xml(
        image_alias.guest.domain.read_migratable_xml(), (f"'{volume.export_name}'", f"'{name}/1'")
    )


def compute_checksum(host: Host, path: PurePosixPath) -> str:
    """Compute the checksum of one part of a raw image. The guest load never writes to this part.

    The part begins at `UNTOUCHED_OFFSET_MIB`. Only the test has written to the part.
    """
    block_range = f"skip={UNTOUCHED_OFFSET_MIB} count={UNTOUCHED_SIZE_MIB}"
    script = f'dd if="$1" bs=1M {block_range} status=none | sha256sum'
    return host.shell.run("sh", "-c", script, "sh", path).stdout.split()[0]
