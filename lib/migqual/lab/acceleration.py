"""Choose KVM or TCG for the guests of a lab, with the test boot of a guest.

The file /dev/kvm may exist although KVM does not work. Only the boot of a guest shows that KVM
works.
"""

import json
import platform
from collections.abc import Callable
from pathlib import Path

from migqual import paths
from migqual.errors import LabError
from migqual.image import build_cache, isolated_command
from migqual.image.guest_image import GuestImage
from migqual.inventory.entities import Acceleration
from migqual.lab.layout import LabLayout

KVM_BOOT_TIMEOUT_SECONDS = 6
_READY_TEXT = b"migqual"


def choose_accelerator(
    layout: LabLayout, rootfs: Path, guest_image: GuestImage, report_progress: Callable[[str], None]
) -> Acceleration:
    """Choose the QEMU accelerator for the guests of a lab, as the topology requests.

    If the topology requests `auto` or `kvm`, the function boots a test guest with KVM. The cache
    keeps the result of the test boot until the next reboot of the machine.

    Args:
        layout: Layout of the lab with the topology.
        rootfs: Root file system with the QEMU for the test boot.
        guest_image: Kernel and initramfs for the test boot.
        report_progress: Called with a line of text after a test boot.

    Returns:
        `KVM` or `TCG`.

    Raises:
        LabError: The topology requests `kvm`, but no guest boots with KVM.
    """
    acceleration = layout.topology.acceleration
    if acceleration is Acceleration.TCG:
        return Acceleration.TCG
    if _can_boot_with_kvm(rootfs, guest_image, report_progress):
        return Acceleration.KVM
    if acceleration is Acceleration.KVM:
        raise LabError(
            f"no guest boots with KVM within {KVM_BOOT_TIMEOUT_SECONDS} s on this machine",
            remedy="write `acceleration: auto` or `acceleration: tcg` in the topology, or use a "
            "machine on which KVM works",
        )
    return Acceleration.TCG


def _can_boot_with_kvm(
    rootfs: Path, guest_image: GuestImage, report_progress: Callable[[str], None]
) -> bool:
    if not Path("/dev/kvm").exists():
        report_progress("acceleration: this machine has no /dev/kvm; guests use TCG")
        return False
    boot_id = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    key = build_cache.compute_key("kvm", platform.release(), boot_id, guest_image.key, str(rootfs))
    result_file = paths.get_cache_folder() / "acceleration" / f"{key}.json"
    if not result_file.exists():
        kvm_works = can_boot_guest(rootfs, guest_image, "kvm")
        result_file.parent.mkdir(parents=True, exist_ok=True)
        result_file.write_text(json.dumps({"kvm": kvm_works}))
        result_text = "boots" if kvm_works else f"does not boot within {KVM_BOOT_TIMEOUT_SECONDS} s"
        report_progress(
            f"acceleration: a test guest with KVM {result_text}; guests use "
            f"{'KVM' if kvm_works else 'TCG'}"
        )
    return bool(json.loads(result_file.read_text())["kvm"])


def can_boot_guest(rootfs: Path, guest_image: GuestImage, accelerator: str) -> bool:
    """Start a test guest and return whether the guest boots with the accelerator.

    Args:
        rootfs: Root file system with QEMU for x86_64.
        guest_image: Kernel and initramfs of the test guest.
        accelerator: Value of the QEMU option `-accel`, for example `kvm`.

    Returns:
        True if the guest prints `migqual` on the console within `KVM_BOOT_TIMEOUT_SECONDS`.

    Raises:
        LabError: The machine does not allow a command in the rootfs, see `run_in_rootfs`.
    """
    qemu_command = [
        *("qemu-system-x86_64", "-machine", "q35", "-accel", accelerator, "-cpu", "max"),
        *("-m", "256", "-nodefaults", "-nographic", "-serial", "stdio", "-no-reboot"),
        *(
            "-kernel",
            f"/mnt/{guest_image.kernel.name}",
            "-initrd",
            f"/mnt/{guest_image.initrd.name}",
        ),
        *("-append", "console=ttyS0 panic=-1"),
    ]
    timeout_command = ["timeout", "--signal=KILL", str(KVM_BOOT_TIMEOUT_SECONDS), *qemu_command]
    console_output = isolated_command.run_in_rootfs(
        rootfs,
        [
            "sh",
            "-c",
            '"$@" || true',
            "sh",
            *timeout_command,
        ],  # a guest that boots never ends by itself
        subject=f"test boot of a guest with {accelerator}",
        bind_mounts={Path("/dev"): "/dev", guest_image.kernel.parent: "/mnt"},
    )
    return _READY_TEXT in console_output
