"""A real disk image for UEFI guests: Debian with systemd, cloud-init and the guest agent.

It stands for the images that users bring (an openEuler cloud image, say). Nothing is mounted and
no loop device is used: the file systems are written straight into the image by tools of a tree.
"""

import platform
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from migqual.errors import LabError
from migqual.image import build, store
from migqual.image.tree import TreeSpec, ensure_tree

FORMAT = 3
MIB = 1 << 20
ESP_MIB = 160
ROOT_MIB = 1600
_TOOLS = ("dosfstools", "e2fsprogs", "fdisk", "mtools", "qemu-utils")
_PACKAGES = (
    *("systemd-sysv", "systemd-boot-efi", "udev", "dbus", "initramfs-tools"),
    *("cloud-init", "qemu-guest-agent", "iproute2", "iputils-ping", "procps", "zstd"),
)
_LABEL = "mq-root"
_BOOT = (
    f"root=LABEL={_LABEL} rw console=tty0 console={{console}} quiet mitigations=off nokaslr "
    "systemd.show_status=no"
)


@dataclass(frozen=True)
class _Machine:
    """What differs between architectures."""

    debian: str
    efi: str
    console: str


_MACHINES = {
    "x86_64": _Machine("amd64", "x64", "ttyS0"),
    "aarch64": _Machine("arm64", "aa64", "ttyAMA0"),
}
_FILES = {
    "etc/fstab": f"LABEL={_LABEL} / ext4 defaults 0 1\n",
    "etc/machine-id": "",
    "etc/cloud/cloud.cfg.d/90-migqual.cfg": (
        "datasource_list: [NoCloud, None]\n"
        "system_info: {network: {renderers: [networkd]}}\n"
        # Emulated, each module that has nothing to do here still costs about a second.
        "cloud_init_modules: [bootcmd, write-files, set_hostname]\n"
        "cloud_config_modules: [runcmd]\ncloud_final_modules: [scripts-user]\n"
    ),
    # The same modules at every boot of a guest; most others are never there to be found.
    "etc/initramfs-tools/conf.d/migqual": "MODULES=list\nCOMPRESS=zstd\n",
    "etc/initramfs-tools/modules": (
        "virtio_pci\nvirtio_blk\nvirtio_scsi\nsd_mod\next4\nvirtio_mmio\n"
    ),
}
_LAYOUT = (
    "label: gpt\n"
    f"start=1MiB, size={ESP_MIB}MiB, type=uefi, name=esp\n"
    f"start={ESP_MIB + 1}MiB, size={ROOT_MIB}MiB, type=linux, name=root\n"
)


def ensure_cloud_image(
    cache: Path, release: str = "bookworm", say: Callable[[str], None] = print
) -> Path:
    """A qcow2 image for this machine's architecture, built if the cache does not hold it.

    Takes two minutes cold. The seed of `cloud_seed` configures a guest made from it; guests
    write to copies or overlays. Raises `LabError` when packages or tools cannot be had.
    """
    machine = _MACHINES.get(platform.machine())
    if machine is None:
        raise LabError(f"no cloud image for {platform.machine()}", remedy="use x86_64 or aarch64")
    kernel = f"linux-image-cloud-{machine.debian}"
    spec = TreeSpec(release, (kernel, *_PACKAGES))
    tools = TreeSpec(release, _TOOLS)
    inputs = (FORMAT, spec.key, tools.key, sorted(_FILES.items()), _LAYOUT, _BOOT)

    def make(half: Path) -> None:
        whole, toolbox = ensure_tree(spec, cache, say), ensure_tree(tools, cache, say)
        say(f"building the cloud image from {release}")
        room = half.with_name(f"{half.name}-room")
        try:
            _assemble(room, whole, toolbox, machine)
            (room / "disk.qcow2").rename(half)
        finally:
            store.discard(room)

    return store.ensure(cache / "cloud" / f"{release}-{store.key_of('cloud', *inputs)}.qcow2", make)


def _assemble(room: Path, whole: Path, toolbox: Path, machine: _Machine) -> None:
    """Leave `disk.qcow2` in the new folder `room`."""
    room.mkdir()
    build.run(
        ["cp", "--archive", "--reflink=auto", whole, room / "tree"],
        what="the cloud image's files",
        remedy="free 4 GiB on the cache's disk",
    )
    _furnish(room / "tree")
    _boot_files(room, machine)
    with (room / "disk.raw").open("wb") as disk:
        disk.truncate((ESP_MIB + ROOT_MIB + 2) * MIB)
    (room / "layout").write_text(_LAYOUT)
    for argv in _commands():
        build.inside(toolbox, argv, what="the cloud image", binds={room: "/mnt"})


def _commands() -> list[list[str]]:
    """What fills the image; the folder of the build is `/mnt` there."""
    disk = "/mnt/disk.raw"
    # Two sectors a cluster: with more, a volume this small has too few clusters to be FAT32.
    fat = ["mkfs.vfat", "--offset", str(MIB // 512), "-F", "32", "-s", "2", "-n", "ESP", disk]
    ext4 = ["mke2fs", "-q", "-F", "-t", "ext4", "-L", _LABEL, "-d", "/mnt/tree"]
    return [
        ["sh", "-c", f"sfdisk --quiet {disk} < /mnt/layout"],
        [*fat, str(ESP_MIB * 1024)],
        ["sh", "-c", f"mcopy -s -i {disk}@@{MIB} /mnt/esp/* ::"],
        [*ext4, "-E", f"offset={(ESP_MIB + 1) * MIB}", disk, f"{ROOT_MIB}M"],
        ["qemu-img", "convert", "-c", "-W", "-O", "qcow2", disk, "/mnt/disk.qcow2"],
    ]


def _furnish(tree: Path) -> None:
    for name, text in _FILES.items():
        path = tree / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    for leftover in ("etc/hostname", "etc/resolv.conf"):
        (tree / leftover).unlink(missing_ok=True)
    # A fixed set of services: presets of the distribution may differ from what a test needs.
    wants = tree / "etc/systemd/system/multi-user.target.wants"
    wants.mkdir(parents=True, exist_ok=True)
    unit = wants / "systemd-networkd.service"
    if not unit.is_symlink():
        unit.symlink_to("/lib/systemd/system/systemd-networkd.service")
    (tree / "etc/systemd/system/e2scrub_reap.service").symlink_to("/dev/null")  # 3 s, emulated
    build.inside(tree, ["update-initramfs", "-u", "-k", "all"], what="the cloud image's initramfs")


def _boot_files(room: Path, machine: _Machine) -> None:
    """The EFI system partition's files: boot loader, kernel, initramfs."""
    tree, esp = room / "tree", room / "esp"
    (esp / "EFI/BOOT").mkdir(parents=True)
    (esp / "loader/entries").mkdir(parents=True)
    loader = tree / f"usr/lib/systemd/boot/efi/systemd-boot{machine.efi}.efi"
    shutil.copyfile(loader, esp / f"EFI/BOOT/BOOT{machine.efi.upper()}.EFI")
    kernel = max((tree / "boot").glob("vmlinuz-*"))
    version = kernel.name.removeprefix("vmlinuz-")
    shutil.copyfile(kernel, esp / "vmlinuz")
    shutil.copyfile(tree / "boot" / f"initrd.img-{version}", esp / "initrd")
    (esp / "loader/loader.conf").write_text("timeout 0\ndefault debian\n")
    (esp / "loader/entries/debian.conf").write_text(
        f"title Debian\nlinux /vmlinuz\ninitrd /initrd\n"
        f"options {_BOOT.format(console=machine.console)}\n"
    )
