"""Build a Debian disk image for UEFI guests, with systemd, cloud-init and the guest agent.

In the tests the image represents the images that users run, for example openEuler images. The build
mounts no image and uses no loop device: tools from a second root file system (rootfs) write the
file systems into the image file.
"""

import shutil
from collections.abc import Callable
from pathlib import Path

from migqual.architecture import Architecture, get_machine_architecture
from migqual.image import build_cache, isolated_command
from migqual.image.rootfs import RootfsSpec, ensure_rootfs
from migqual.units import MIB

FORMAT_VERSION = 3
ESP_MIB = 160
ROOT_MIB = 1600
_TOOL_PACKAGES = ("dosfstools", "e2fsprogs", "fdisk", "mtools", "qemu-utils")
_IMAGE_PACKAGES = (
    *("systemd-sysv", "systemd-boot-efi", "udev", "dbus", "initramfs-tools"),
    *("cloud-init", "qemu-guest-agent", "iproute2", "iputils-ping", "procps", "zstd"),
)
_ROOT_LABEL = "mq-root"
_KERNEL_COMMAND_LINE = (
    f"root=LABEL={_ROOT_LABEL} rw console=tty0 console={{console}} quiet mitigations=off nokaslr "
    "systemd.show_status=no"
)


_CONFIG_FILES = {
    "etc/fstab": f"LABEL={_ROOT_LABEL} / ext4 defaults 0 1\n",
    "etc/machine-id": "",
    "etc/cloud/cloud.cfg.d/90-migqual.cfg": (
        "datasource_list: [NoCloud, None]\n"
        "system_info: {network: {renderers: [networkd]}}\n"
        # Under TCG every module of cloud-init takes about a second, even a module without work.
        "cloud_init_modules: [bootcmd, write-files, set_hostname]\n"
        "cloud_config_modules: [runcmd]\ncloud_final_modules: [scripts-user]\n"
    ),
    # A fixed list of kernel modules: every boot of a guest loads the same modules. A guest never
    # has the hardware for most other modules.
    "etc/initramfs-tools/conf.d/migqual": "MODULES=list\nCOMPRESS=zstd\n",
    "etc/initramfs-tools/modules": (
        "virtio_pci\nvirtio_blk\nvirtio_scsi\nsd_mod\next4\nvirtio_mmio\n"
    ),
}
_PARTITION_TABLE = (
    "label: gpt\n"
    f"start=1MiB, size={ESP_MIB}MiB, type=uefi, name=esp\n"
    f"start={ESP_MIB + 1}MiB, size={ROOT_MIB}MiB, type=linux, name=root\n"
)


def ensure_cloud_image(
    cache: Path, release: str = "bookworm", report_progress: Callable[[str], None] = print
) -> Path:
    """Return the path of the qcow2 cloud image; build the image if the cache has none.

    The image has the architecture of the machine. A build with an empty cache takes two minutes.
    A guest also needs the volume of `ensure_seed_volume`. Guests must write to a copy of
    the image, or to an overlay with the image as backing file.

    Args:
        cache: Root folder of the cache.
        release: Debian release of the image.
        report_progress: Called with a line of text for each build step.

    Raises:
        LabError: The architecture is unknown, or packages or tools are not available.
    """
    architecture = get_machine_architecture()
    kernel = f"linux-image-cloud-{architecture.debian_name}"
    spec = RootfsSpec(release, (kernel, *_IMAGE_PACKAGES))
    tools_spec = RootfsSpec(release, _TOOL_PACKAGES)
    inputs = (
        FORMAT_VERSION,
        spec.key,
        tools_spec.key,
        sorted(_CONFIG_FILES.items()),
        _PARTITION_TABLE,
        _KERNEL_COMMAND_LINE,
    )

    def build_image(partial_path: Path) -> None:
        rootfs, tools_rootfs = (
            ensure_rootfs(spec, cache, report_progress),
            ensure_rootfs(tools_spec, cache, report_progress),
        )
        report_progress(f"building the cloud image from Debian {release}")
        work_folder = partial_path.with_name(f"{partial_path.name}-room")
        try:
            _build_disk(work_folder, rootfs, tools_rootfs, architecture)
            (work_folder / "disk.qcow2").rename(partial_path)
        finally:
            build_cache.remove_path(work_folder)

    return build_cache.ensure_cached(
        cache / "cloud" / f"{release}-{build_cache.compute_key('cloud', *inputs)}.qcow2",
        build_image,
    )


def _build_disk(
    work_folder: Path, rootfs: Path, tools_rootfs: Path, architecture: Architecture
) -> None:
    """Build the cloud image as `disk.qcow2` in `work_folder`, which the function creates."""
    work_folder.mkdir()
    isolated_command.run_isolated(
        ["cp", "--archive", "--reflink=auto", rootfs, work_folder / "tree"],
        subject="copying the root file system for the cloud image",
        remedy="free 4 GiB on the disk of the cache folder (MIGQUAL_CACHE)",
    )
    _configure_rootfs(work_folder / "tree")
    _copy_boot_files(work_folder, architecture)
    with (work_folder / "disk.raw").open("wb") as disk:
        disk.truncate((ESP_MIB + ROOT_MIB + 2) * MIB)
    (work_folder / "layout").write_text(_PARTITION_TABLE)
    for argv in _list_disk_commands():
        isolated_command.run_in_rootfs(
            tools_rootfs, argv, subject="the cloud image", bind_mounts={work_folder: "/mnt"}
        )


def _list_disk_commands() -> list[list[str]]:
    """List the commands that partition the disk image and copy the files into the disk image.

    In the root file system in which the commands run, the work folder is mounted at `/mnt`.
    """
    disk = "/mnt/disk.raw"
    # Two sectors per cluster: with larger clusters the small volume has too few clusters for FAT32.
    mkfs_vfat = ["mkfs.vfat", "--offset", str(MIB // 512), "-F", "32", "-s", "2", "-n", "ESP", disk]
    mkfs_ext4 = ["mke2fs", "-q", "-F", "-t", "ext4", "-L", _ROOT_LABEL, "-d", "/mnt/tree"]
    return [
        ["sh", "-c", f"sfdisk --quiet {disk} < /mnt/layout"],
        [*mkfs_vfat, str(ESP_MIB * 1024)],
        ["sh", "-c", f"mcopy -s -i {disk}@@{MIB} /mnt/esp/* ::"],
        [*mkfs_ext4, "-E", f"offset={(ESP_MIB + 1) * MIB}", disk, f"{ROOT_MIB}M"],
        ["qemu-img", "convert", "-c", "-W", "-O", "qcow2", disk, "/mnt/disk.qcow2"],
    ]


def _configure_rootfs(rootfs: Path) -> None:
    for name, text in _CONFIG_FILES.items():
        path = rootfs / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    for unwanted_file in ("etc/hostname", "etc/resolv.conf"):
        (rootfs / unwanted_file).unlink(missing_ok=True)
    # A fixed set of services: presets of the distribution may differ from what a test needs.
    wants_folder = rootfs / "etc/systemd/system/multi-user.target.wants"
    wants_folder.mkdir(parents=True, exist_ok=True)
    unit_link = wants_folder / "systemd-networkd.service"
    if not unit_link.is_symlink():
        unit_link.symlink_to("/lib/systemd/system/systemd-networkd.service")
    # Under TCG the service e2scrub_reap takes 3 s.
    (rootfs / "etc/systemd/system/e2scrub_reap.service").symlink_to("/dev/null")
    isolated_command.run_in_rootfs(
        rootfs, ["update-initramfs", "-u", "-k", "all"], subject="the cloud image's initramfs"
    )


def _copy_boot_files(work_folder: Path, architecture: Architecture) -> None:
    """Copy boot loader, kernel and initramfs to `esp`, the folder for the EFI partition's files."""
    rootfs, esp_folder = work_folder / "tree", work_folder / "esp"
    (esp_folder / "EFI/BOOT").mkdir(parents=True)
    (esp_folder / "loader/entries").mkdir(parents=True)
    loader = rootfs / f"usr/lib/systemd/boot/efi/systemd-boot{architecture.efi_suffix}.efi"
    shutil.copyfile(loader, esp_folder / f"EFI/BOOT/BOOT{architecture.efi_suffix.upper()}.EFI")
    kernel = max((rootfs / "boot").glob("vmlinuz-*"))
    version = kernel.name.removeprefix("vmlinuz-")
    shutil.copyfile(kernel, esp_folder / "vmlinuz")
    shutil.copyfile(rootfs / "boot" / f"initrd.img-{version}", esp_folder / "initrd")
    (esp_folder / "loader/loader.conf").write_text("timeout 0\ndefault debian\n")
    (esp_folder / "loader/entries/debian.conf").write_text(
        f"title Debian\nlinux /vmlinuz\ninitrd /initrd\n"
        f"options {_KERNEL_COMMAND_LINE.format(console=architecture.console_device)}\n"
    )
