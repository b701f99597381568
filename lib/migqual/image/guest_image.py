"""Build the guest image, which is a Debian kernel with an initramfs.

The initramfs contains the guest agent and `migqual-payload`, the program that executes the commands
of migqual in the guest.
"""

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from migqual.architecture import Architecture, get_machine_architecture
from migqual.errors import LabError, UsageError
from migqual.image import build_cache, cpio, shared_libraries
from migqual.image.kernel_modules import KernelModules
from migqual.image.payload import PAYLOAD_SOURCES, compute_payload_key, ensure_payload
from migqual.image.rootfs import RootfsSpec, ensure_rootfs

FORMAT_VERSION = 3
PAYLOAD_PORT = 7007
GUEST_AGENT_PATH = "usr/sbin/qemu-ga"
REQUIRED_MODULES = ("virtio_pci", "virtio_blk", "virtio_net", "virtio_console", "evdev", "button")
# A kernel may lack optional modules: the cloud kernel has no AHCI, others have AHCI built in.
OPTIONAL_MODULES = (
    *("virtio_scsi", "sd_mod", "sr_mod", "virtio_rng", "virtio_balloon", "isofs"),
    *("ahci", "ata_piix", "virtio_mmio", "gpio_keys", "pvpanic_mmio"),
)
_BUSYBOX_APPLETS = (
    *("sh", "mount", "ip", "ln", "mkdir", "usleep", "cat", "ls", "echo", "sleep", "ps", "dmesg"),
    *("kill", "sync", "true", "false", "sha256sum", "dd", "head", "poweroff", "reboot", "test"),
    *("rm", "cp", "grep", "sed", "umount", "free", "uptime", "ping", "wc", "stat", "cut"),
    "blkdiscard",
)
_CONTENT_LISTS = (REQUIRED_MODULES, OPTIONAL_MODULES, _BUSYBOX_APPLETS)


@dataclass(frozen=True)
class GuestImage:
    """The boot files of a guest, and the program that runs in the guest and on the hosts.

    Attributes:
        architecture: Architecture of the guest.
        kernel: Path of the kernel.
        initrd: Path of the initramfs.
        payload: Path of the static program `migqual-payload` for the guest.
        host_payload: Path of the same program for the hosts. The program is compiled for the
            architecture of the machine that runs migqual.
        key: Cache key, which contains the Debian release and a hash of all inputs of the build.
    """

    architecture: Architecture
    kernel: Path
    initrd: Path
    payload: Path
    host_payload: Path
    key: str


def ensure_guest_image(
    cache: Path,
    architecture: Architecture | None = None,
    *,
    release: str = "bookworm",
    report_progress: Callable[[str], None] = print,
) -> GuestImage:
    """Return the guest image (kernel and initramfs); build the image if the cache has none.

    A build with an empty cache takes 10 s. The build runs no program from the guest image, so the
    guest may have another architecture than the machine that runs migqual.

    Args:
        cache: Root folder of the cache.
        architecture: Architecture of the guest. None means the architecture of the machine that
            runs migqual.
        release: Debian release of the kernel and the guest agent.
        report_progress: Called with a line of text for each build step.

    Raises:
        LabError: The architecture is unknown, or the packages or a compiler are not available.
    """
    machine_architecture = get_machine_architecture()
    architecture = architecture or machine_architecture
    spec = _build_rootfs_spec(release, architecture)
    key = build_cache.compute_key(
        "guest",
        FORMAT_VERSION,
        spec.key,
        compute_payload_key(),
        *_CONTENT_LISTS,
        PAYLOAD_SOURCES / "init",
    )

    def build_image(partial_path: Path) -> None:
        rootfs = ensure_rootfs(spec, cache, report_progress)
        payload = ensure_payload(cache, report_progress, architecture)
        host_payload = ensure_payload(cache, report_progress, machine_architecture)
        report_progress(f"building the guest image from Debian {release} ({architecture})")
        _write_image(partial_path, rootfs, payload, host_payload)

    folder = build_cache.ensure_cached(cache / "guest" / f"{release}-{key}", build_image)
    return GuestImage(
        architecture,
        folder / "vmlinuz",
        folder / "initrd",
        folder / "migqual-payload",
        folder / "migqual-payload-host",
        f"{release}-{key}",
    )


def _write_image(folder: Path, rootfs: Path, payload: Path, host_payload: Path) -> None:
    """Write the kernel, the initramfs and the two programs of a guest image to a new folder."""
    folder.mkdir()
    (folder / "vmlinuz").write_bytes(_find_kernel(rootfs).read_bytes())
    # The initramfs is not compressed: under TCG a guest needs more time to unpack gzip than to
    # read 7 MB more.
    (folder / "initrd").write_bytes(
        cpio.build_cpio_archive(_build_initramfs_entries(rootfs, payload))
    )
    shutil.copy(payload, folder / "migqual-payload")
    shutil.copy(host_payload, folder / "migqual-payload-host")


def build_kernel_command_line(
    networks: Sequence[tuple[str, str]] = (),
    *,
    port: int = PAYLOAD_PORT,
    shutdown_delay: int = 0,
    architecture: Architecture = Architecture.X86_64,
    gateway: str = "",
    emulated: bool = False,
) -> str:
    """Build the kernel command line of a guest.

    Args:
        networks: A tuple (MAC, "ADDRESS/PREFIX") for each NIC. (MAC, "") is a NIC without an IP
            address.
        port: TCP port on which `migqual-payload` accepts the connection of the client.
        shutdown_delay: Seconds between a shutdown request and the power-off. The power button or
            the guest agent requests the shutdown.
        architecture: Architecture of the guest.
        gateway: IP address of the default gateway, for the first NIC. "" means no gateway.
        emulated: Whether the guest runs under TCG. If True, a program in the guest makes QEMU flush
            the TLB, see `fixtures/guest/tlb.c`.

    Raises:
        UsageError: A gateway is given, but the first NIC has no IP address.
    """
    arguments = [
        f"console={architecture.console_device}",
        "quiet",
        "panic=-1",
    ]
    # Under TCG, protections such as page table isolation take a tenth of the boot time. A test
    # guest has no data to protect.
    arguments += ["mitigations=off", "nokaslr", "audit=0", "selinux=0", "apparmor=0"]
    if architecture is Architecture.X86_64:
        arguments += ["no_timer_check", "tsc=reliable", "cryptomgr.notests", "random.trust_cpu=on"]
    if network_arguments := _build_network_arguments(networks, gateway):
        arguments.append(f"migqual.net={';'.join(network_arguments)}")
    if emulated:
        arguments.append("migqual.emulated")
    return " ".join(
        [*arguments, f"migqual.port={port}", f"migqual.shutdown_delay={shutdown_delay}"]
    )


def _build_network_arguments(networks: Sequence[tuple[str, str]], gateway: str) -> list[str]:
    """Build ``MAC,ADDRESS/PREFIX`` for each NIC; the first NIC also has the gateway.

    Raises:
        UsageError: A gateway is given, but the first NIC has no IP address.
    """
    arguments = [",".join(filter(None, (mac.lower(), address))) for mac, address in networks]
    if gateway and not (networks and networks[0][1]):
        raise UsageError(
            f"the guest cannot use the gateway {gateway}: its first NIC has no IP address",
            remedy="give the first NIC an IP address, or omit the gateway",
        )
    if gateway:
        arguments[0] += f",{gateway}"
    return arguments


def _build_rootfs_spec(release: str, architecture: Architecture) -> RootfsSpec:
    kernel_package = f"linux-image-cloud-{architecture.debian_name}"
    return RootfsSpec(
        release,
        (kernel_package, "busybox-static", "qemu-guest-agent"),
        variant="extract",
        architecture=architecture,
    )


def _find_kernel(rootfs: Path) -> Path:
    kernels = sorted((rootfs / "boot").glob("vmlinuz-*"))
    if not kernels:
        raise LabError(
            f"the root file system {rootfs} has no kernel in /boot",
            remedy=f"remove the folder {rootfs}; migqual then builds the root file system again",
        )
    return kernels[-1]


def _build_initramfs_entries(rootfs: Path, payload: Path) -> dict[str, cpio.CpioEntry]:
    version = _find_kernel(rootfs).name.removeprefix("vmlinuz-")
    module_folders = [rootfs / prefix / "lib/modules" / version for prefix in ("", "usr")]
    modules = KernelModules(
        next(folder for folder in module_folders if folder.is_dir())
    ).collect_with_dependencies(REQUIRED_MODULES, OPTIONAL_MODULES)
    entries = {f"modules/{name}.ko": cpio.make_file_entry(data) for name, data in modules.items()}
    entries["modules/order"] = cpio.make_file_entry(
        " ".join(f"/modules/{name}.ko" for name in modules).encode()
    )
    entries |= {
        path: cpio.make_folder_entry()
        for path in ("dev", "proc", "sys", "run", "tmp", "var", "root")
    }
    entries["var/run"] = cpio.make_symlink_entry("/run")
    entries["dev/console"] = cpio.make_character_device_entry(5, 1)
    entries["init"] = cpio.make_file_entry((PAYLOAD_SOURCES / "init").read_bytes(), 0o755)
    busybox = next(
        busybox_path
        for prefix in ("bin", "usr/bin")
        if (busybox_path := rootfs / prefix / "busybox").is_file()
    )
    entries["bin/busybox"] = cpio.make_file_entry(busybox.read_bytes(), 0o755)
    entries |= {f"bin/{name}": cpio.make_symlink_entry("busybox") for name in _BUSYBOX_APPLETS}
    entries["bin/migqual-payload"] = cpio.make_file_entry(payload.read_bytes(), 0o755)
    entries["sbin/shutdown"] = cpio.make_symlink_entry("/bin/migqual-payload")
    return entries | _collect_agent_files(rootfs)


def _collect_agent_files(rootfs: Path) -> dict[str, cpio.CpioEntry]:
    """Collect the program, the dynamic loader and the shared libraries of the guest agent."""
    agent = rootfs / GUEST_AGENT_PATH
    entries = {GUEST_AGENT_PATH: cpio.make_file_entry(agent.read_bytes(), 0o755)}
    for path, file in shared_libraries.find_shared_libraries(rootfs, agent).items():
        entries[path] = cpio.make_file_entry(file.read_bytes(), 0o755)
    return entries
