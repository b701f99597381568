"""Whether a guest really boots with KVM here. A file test lies; a boot does not."""

import json
import platform
from collections.abc import Callable
from pathlib import Path

from migqual import places
from migqual.errors import LabError
from migqual.image import build, store
from migqual.image.guest import GuestImage
from migqual.lab.layout import LabLayout

SECONDS = 6
_READY = b"migqual"


def choose(layout: LabLayout, tree: Path, guest: GuestImage, say: Callable[[str], None]) -> str:
    """`kvm` or `tcg`, as the topology asks; `auto` tries and remembers until the next reboot.

    Raises `LabError` when KVM is demanded and a guest does not boot with it.
    """
    wanted = layout.topology.acceleration
    if wanted == "tcg":
        return "tcg"
    if _boots_with_kvm(tree, guest, say):
        return "kvm"
    if wanted == "kvm":
        raise LabError(
            f"no guest boots with KVM within {SECONDS} s on this machine",
            remedy="use acceleration: auto or tcg in the topology, or a machine with nested KVM",
        )
    return "tcg"


def _boots_with_kvm(tree: Path, guest: GuestImage, say: Callable[[str], None]) -> bool:
    if not Path("/dev/kvm").exists():
        say("acceleration: no /dev/kvm, guests run under TCG")
        return False
    boot_id = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    key = store.key_of("kvm", platform.release(), boot_id, guest.key, str(tree))
    known = places.cache() / "acceleration" / f"{key}.json"
    if not known.exists():
        works = boots(tree, guest, "kvm")
        known.parent.mkdir(parents=True, exist_ok=True)
        known.write_text(json.dumps({"kvm": works}))
        words = "boots" if works else f"does not boot within {SECONDS} s"
        say(f"acceleration: a guest {words} with KVM; using {'KVM' if works else 'TCG'}")
    return bool(json.loads(known.read_text())["kvm"])


def boots(tree: Path, guest: GuestImage, accelerator: str) -> bool:
    """Boot the guest's kernel with the tree's QEMU until it speaks on its console."""
    qemu = [
        *("qemu-system-x86_64", "-machine", "q35", "-accel", accelerator, "-cpu", "max"),
        *("-m", "256", "-nodefaults", "-nographic", "-serial", "stdio", "-no-reboot"),
        *("-kernel", f"/mnt/{guest.kernel.name}", "-initrd", f"/mnt/{guest.initrd.name}"),
        *("-append", "console=ttyS0 panic=-1"),
    ]
    bounded = ["timeout", "--signal=KILL", str(SECONDS), *qemu]
    console = build.inside(
        tree,
        ["sh", "-c", '"$@" || true', "sh", *bounded],  # it never ends by itself when it boots
        what=f"a guest under {accelerator}",
        binds={Path("/dev"): "/dev", guest.kernel.parent: "/mnt"},
    )
    return _READY in console
