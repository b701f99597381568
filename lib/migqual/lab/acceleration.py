"""Choose KVM or TCG for the guests of a lab, and boot a test guest to find out if KVM works.

The file /dev/kvm may exist although KVM does not work. Only the boot of a guest shows that KVM
works.
"""

import json
import platform
from collections.abc import Callable
from pathlib import Path

from migqual import paths
from migqual.architecture import get_machine_architecture
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
    """Choose KVM or TCG for the guests of a lab, from the setting `acceleration` of the topology.

    - `tcg`: The result is `TCG`.
    - `auto`: The result is `KVM` if a test guest boots with KVM, else `TCG`.
    - `kvm`: The result is `KVM` if a test guest boots with KVM, else an error.

    If the guests have another architecture than the machine, KVM cannot run the guests, so the
    function boots no test guest. The result of a boot stays in the cache until the next reboot of
    the machine.

    Args:
        layout: Layout of the lab, which contains the topology.
        rootfs: Root file system with the QEMU for the test boot.
        guest_image: Kernel and initramfs for the test boot.
        report_progress: Called with a line of text after a test boot.

    Returns:
        `KVM` or `TCG`.

    Raises:
        LabError: The setting is `kvm`, but KVM cannot run the guests. Either the test guest does
            not boot, or the guests have another architecture than the machine.
    """
    acceleration = layout.topology.acceleration
    is_foreign = guest_image.architecture is not get_machine_architecture()
    if acceleration is Acceleration.TCG or (is_foreign and acceleration is Acceleration.AUTO):
        return Acceleration.TCG
    if is_foreign:
        raise LabError(
            f"KVM on this machine cannot run {guest_image.architecture} guests, but the topology "
            "requests `acceleration: kvm`",
            remedy="write `acceleration: auto` or `tcg` in the topology",
        )
    if _can_boot_with_kvm(rootfs, guest_image, report_progress):
        return Acceleration.KVM
    if acceleration is Acceleration.KVM:
        raise LabError(
            f"no guest boots with KVM within {KVM_BOOT_TIMEOUT_SECONDS} s on this machine, but the "
            "topology requests `acceleration: kvm`",
            remedy="write `acceleration: auto` or `tcg` in the topology, or use a machine on which "
            "KVM works",
        )
    return Acceleration.TCG


def _can_boot_with_kvm(
    rootfs: Path, guest_image: GuestImage, report_progress: Callable[[str], None]
) -> bool:
    if not Path("/dev/kvm").exists():
        report_progress(
            "acceleration: this machine has no /dev/kvm, so the guests of the lab use TCG"
        )
        return False
    boot_id = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    key = build_cache.compute_key("kvm", platform.release(), boot_id, guest_image.key, str(rootfs))
    result_file = paths.get_cache_folder() / "acceleration" / f"{key}.json"
    if not result_file.exists():
        kvm_works = can_boot_guest(rootfs, guest_image, "kvm")
        result_file.parent.mkdir(parents=True, exist_ok=True)
        result_file.write_text(json.dumps({"kvm": kvm_works}))
        report_progress(
            "acceleration: a test guest boots with KVM, so the guests of the lab use KVM"
            if kvm_works
            else "acceleration: a test guest does not boot with KVM within "
            f"{KVM_BOOT_TIMEOUT_SECONDS} s, so the guests of the lab use TCG"
        )
    return bool(json.loads(result_file.read_text())["kvm"])


def can_boot_guest(rootfs: Path, guest_image: GuestImage, accelerator: str) -> bool:
    """Start a test guest and return whether the guest boots with the accelerator.

    Args:
        rootfs: Root file system with QEMU for the guest.
        guest_image: Kernel and initramfs of the test guest.
        accelerator: Value of the QEMU option `-accel`, for example `kvm`.

    Returns:
        True if the guest prints `migqual` on the console within `KVM_BOOT_TIMEOUT_SECONDS`.

    Raises:
        LabError: The machine does not allow `run_in_rootfs` to mount folders or to use chroot.
    """
    guest = guest_image.architecture
    qemu_command = [
        *(f"qemu-system-{guest}", "-machine", guest.machine_type, "-accel", accelerator),
        *("-cpu", "max"),
        *("-m", "256", "-nodefaults", "-nographic", "-serial", "stdio", "-no-reboot"),
        *(
            "-kernel",
            f"/mnt/{guest_image.kernel.name}",
            "-initrd",
            f"/mnt/{guest_image.initrd.name}",
        ),
        *("-append", f"console={guest.console_device} panic=-1"),
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
        ],  # `timeout` kills a booted guest, so its exit status is not 0
        subject=f"test boot of a guest with the accelerator {accelerator}",
        bind_mounts={Path("/dev"): "/dev", guest_image.kernel.parent: "/mnt"},
    )
    return _READY_TEXT in console_output
