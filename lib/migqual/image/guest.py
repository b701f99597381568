"""The guest image: the distribution's kernel and an initramfs of ours."""

import platform
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from migqual.errors import LabError, UsageError
from migqual.image import build, cpio, store
from migqual.image.modules import Modules
from migqual.image.payload import SOURCES, ensure_payload, payload_key
from migqual.image.tree import TreeSpec, ensure_tree

FORMAT = 2
PORT = 7007
AGENT = "usr/sbin/qemu-ga"
WANTED = ("virtio_pci", "virtio_blk", "virtio_net", "virtio_console", "evdev", "button")
# What the kernel at hand may lack: the cloud flavour has no AHCI, others have it built in.
OPTIONAL = (
    *("virtio_scsi", "sd_mod", "sr_mod", "virtio_rng", "virtio_balloon", "isofs"),
    *("ahci", "ata_piix", "virtio_mmio", "gpio_keys"),
)
_APPLETS = (
    *("sh", "mount", "ip", "ln", "mkdir", "usleep", "cat", "ls", "echo", "sleep", "ps", "dmesg"),
    *("kill", "sync", "true", "false", "sha256sum", "dd", "head", "poweroff", "reboot", "test"),
    *("rm", "cp", "grep", "sed", "umount", "free", "uptime", "ping", "wc", "stat", "cut"),
    "blkdiscard",
)
_LISTS = (WANTED, OPTIONAL, _APPLETS)
_ARCH = {"x86_64": "amd64", "aarch64": "arm64"}
_CONSOLE = {"x86_64": "ttyS0", "aarch64": "ttyAMA0"}


@dataclass(frozen=True)
class GuestImage:
    """What a guest boots from, and the program to run beside it. `key` names its inputs."""

    kernel: Path
    initrd: Path
    payload: Path
    key: str


def ensure_guest_image(
    cache: Path, release: str = "bookworm", *, say: Callable[[str], None] = print
) -> GuestImage:
    """The guest image for this machine's architecture, built if the cache does not hold it.

    Takes 10 s cold. Raises `LabError` when the packages or a compiler cannot be had.
    """
    spec = _spec(release)
    key = store.key_of("guest", FORMAT, spec.key, payload_key(), *_LISTS, SOURCES / "init")

    def make(half: Path) -> None:
        tree = ensure_tree(spec, cache, say)
        payload = ensure_payload(cache, say)
        say(f"building the guest image from {release}")
        half.mkdir()
        (half / "vmlinuz").write_bytes(_kernel(tree).read_bytes())
        # Not compressed: unpacking gzip takes an emulated guest longer than reading 7 MB more.
        (half / "initrd").write_bytes(cpio.archive(_contents(tree, payload)))
        (half / "migqual-payload").write_bytes(payload.read_bytes())
        (half / "migqual-payload").chmod(0o755)

    folder = store.ensure(cache / "guest" / f"{release}-{key}", make)
    return GuestImage(
        folder / "vmlinuz", folder / "initrd", folder / "migqual-payload", f"{release}-{key}"
    )


def kernel_arguments(
    networks: Sequence[tuple[str, str]] = (),
    *,
    port: int = PORT,
    shutdown_delay: int = 0,
    arch: str = "",
    gateway: str = "",
    emulated: bool = False,
) -> str:
    """The kernel command line of a guest.

    networks          (MAC, "ADDRESS/PREFIX" or "" for a link without address), one per NIC
    shutdown_delay    seconds between the power button, or the agent's request, and power off
    arch              the guest's architecture; this machine's if empty
    gateway           the first NIC's default route; needs an address there
    emulated          under TCG: the guest makes it forget its TLB, see `fixtures/guest/tlb.c`

    Raises `UsageError` for a gateway without an address.
    """
    words = [f"console={_CONSOLE.get(arch or platform.machine(), 'ttyS0')}", "quiet", "panic=-1"]
    # Under TCG page table isolation and the like cost a tenth of the boot and guard nothing.
    words += ["mitigations=off", "nokaslr", "audit=0", "selinux=0", "apparmor=0"]
    if (arch or platform.machine()) == "x86_64":
        words += ["no_timer_check", "tsc=reliable", "cryptomgr.notests", "random.trust_cpu=on"]
    nets = [",".join(filter(None, (mac.lower(), address))) for mac, address in networks]
    if gateway and not (networks and networks[0][1]):
        raise UsageError(f"gateway {gateway}: the first network has no address")
    if gateway:
        nets[0] += f",{gateway}"
    if nets:
        words.append(f"migqual.net={';'.join(nets)}")
    if emulated:
        words.append("migqual.emulated")
    return " ".join([*words, f"migqual.port={port}", f"migqual.shutdown_delay={shutdown_delay}"])


def _spec(release: str) -> TreeSpec:
    arch = _ARCH.get(platform.machine())
    if arch is None:
        raise LabError(f"no guest image for {platform.machine()}", remedy="use x86_64 or aarch64")
    packages = (f"linux-image-cloud-{arch}", "busybox-static", "qemu-guest-agent")
    return TreeSpec(release, packages, variant="extract")


def _kernel(tree: Path) -> Path:
    kernels = sorted((tree / "boot").glob("vmlinuz-*"))
    if not kernels:
        raise LabError(f"{tree}: no kernel in /boot")
    return kernels[-1]


def _contents(tree: Path, payload: Path) -> dict[str, cpio.Entry]:
    version = _kernel(tree).name.removeprefix("vmlinuz-")
    homes = [tree / top / "lib/modules" / version for top in ("", "usr")]
    modules = Modules(next(home for home in homes if home.is_dir())).closure(WANTED, OPTIONAL)
    entries = {f"modules/{name}.ko": cpio.file(data) for name, data in modules.items()}
    entries["modules/order"] = cpio.file(" ".join(f"/modules/{n}.ko" for n in modules).encode())
    entries |= {path: cpio.folder() for path in ("dev", "proc", "sys", "run", "tmp", "var", "root")}
    entries["var/run"] = cpio.link("/run")
    entries["dev/console"] = cpio.character(5, 1)
    entries["init"] = cpio.file((SOURCES / "init").read_bytes(), 0o755)
    busybox = next(p for top in ("bin", "usr/bin") if (p := tree / top / "busybox").is_file())
    entries["bin/busybox"] = cpio.file(busybox.read_bytes(), 0o755)
    entries |= {f"bin/{name}": cpio.link("busybox") for name in _APPLETS}
    entries["bin/migqual-payload"] = cpio.file(payload.read_bytes(), 0o755)
    entries["sbin/shutdown"] = cpio.link("/bin/migqual-payload")
    return entries | _agent(tree)


def _agent(tree: Path) -> dict[str, cpio.Entry]:
    """The guest agent and the shared libraries that its loader names."""
    loader = next(
        path
        for top in ("lib64", "lib", "usr/lib64", "usr/lib")
        for path in sorted((tree / top).glob("ld-linux*.so.*"))
    )
    listed = build.run(
        ["chroot", tree, f"/{loader.relative_to(tree)}", "--list", f"/{AGENT}"],
        what="the guest agent's libraries",
        remedy="run as root",
    ).decode()
    found = [word for line in listed.splitlines() for word in line.split() if word[:1] == "/"]
    paths = {*found, f"/{AGENT}", f"/{loader.relative_to(tree)}"}
    return {path.lstrip("/"): cpio.file(_found(tree, path).read_bytes(), 0o755) for path in paths}


def _found(tree: Path, path: str) -> Path:
    """Where `path` lies in a tree whose packages were not configured, so that `/lib64` and the
    other links into `/usr` are missing."""
    plain = path.lstrip("/")
    return tree / plain if (tree / plain).exists() else tree / "usr" / plain
