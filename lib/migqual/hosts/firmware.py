"""Find the UEFI firmware files of a host.

QEMU's firmware descriptors on the host name the files. If no descriptor fits, the module tries
known paths.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatch
from typing import Any

from migqual.architecture import Architecture
from migqual.errors import GuestError
from migqual.hosts.host import Host

# QEMU's docs/interop/firmware.json: a file in /etc replaces the file of the same name.
DESCRIPTOR_FOLDERS = ("/usr/share/qemu/firmware", "/etc/qemu/firmware")
# Firmware with one of the features boots only in a guest that is set up for the feature.
_UNWANTED_FEATURES = frozenset(
    (
        "amd-sev",
        "amd-sev-es",
        "amd-sev-snp",
        "enrolled-keys",
        "intel-tdx",
        "requires-smm",
        "secure-boot",
    )
)
_MACHINE_ALIASES = {"q35": "pc-q35-alias", "pc": "pc-i440fx-alias", "virt": "virt-alias"}
_READ_DESCRIPTORS_SCRIPT = (
    'for file in "$1"/*.json "$2"/*.json; do [ -f "$file" ] || continue; '
    'printf "%s\\0" "$file"; cat -- "$file"; printf "\\0"; done'
)


@dataclass(frozen=True)
class FirmwareFiles:
    """The files of a UEFI firmware on a host, in raw format.

    Attributes:
        code: Path of the firmware program. The guest has read access only.
        variables: Path of the template for the variable store (NVRAM) of a guest.
    """

    code: str
    variables: str


# Paths of the files in openEuler, Debian and Fedora, for hosts on which no descriptor fits.
KNOWN_FILES = {
    Architecture.X86_64: (
        FirmwareFiles("/usr/share/edk2/ovmf/OVMF_CODE.fd", "/usr/share/edk2/ovmf/OVMF_VARS.fd"),
        FirmwareFiles("/usr/share/OVMF/OVMF_CODE_4M.fd", "/usr/share/OVMF/OVMF_VARS_4M.fd"),
        FirmwareFiles("/usr/share/OVMF/OVMF_CODE.fd", "/usr/share/OVMF/OVMF_VARS.fd"),
    ),
    Architecture.AARCH64: (
        FirmwareFiles(
            "/usr/share/edk2/aarch64/QEMU_EFI-pflash.raw",
            "/usr/share/edk2/aarch64/vars-template-pflash.raw",
        ),
        FirmwareFiles("/usr/share/AAVMF/AAVMF_CODE.fd", "/usr/share/AAVMF/AAVMF_VARS.fd"),
    ),
}


def find_firmware(host: Host, architecture: Architecture, machine: str) -> FirmwareFiles:
    """Find the UEFI firmware of a host for a machine type.

    Args:
        host: The host of the guest.
        architecture: Architecture of the guest.
        machine: QEMU's machine type or an alias, e.g. ``q35``.

    Returns:
        The files of a firmware without secure boot and without memory encryption.

    Raises:
        GuestError: The host has no firmware that fits the machine type.
    """
    files = select_firmware(_read_descriptors(host), architecture, machine)
    if files is not None:
        return files
    for known_files in KNOWN_FILES[architecture]:
        paths = (known_files.code, known_files.variables)
        if all(host.shell.run_unchecked("test", "-f", path).status == 0 for path in paths):
            return known_files
    raise GuestError(
        f"{host.name} has no UEFI firmware for machine type {machine} ({architecture})",
        remedy="install the firmware on the host: the package ovmf or edk2-ovmf for x86_64, "
        "qemu-efi-aarch64 or edk2-aarch64 for aarch64",
    )


def select_firmware(
    descriptors: Iterable[Mapping[str, Any]], architecture: Architecture, machine: str
) -> FirmwareFiles | None:
    """Select the first fitting UEFI firmware without secure boot and without memory encryption.

    libvirt could select a firmware for guests with encrypted memory. An ordinary guest does not
    boot with that firmware. Therefore migqual selects the firmware, and not libvirt.

    Args:
        descriptors: Contents of the descriptor files, in the order of the file names.
        architecture: Architecture of the guest.
        machine: QEMU's machine type or an alias, e.g. ``q35``.

    Returns:
        The files of the firmware; None when no descriptor fits.
    """
    for descriptor in descriptors:
        mapping = descriptor.get("mapping", {})
        is_plain_flash = (
            mapping.get("device") == "flash"
            and mapping.get("mode", "split") == "split"
            and not _UNWANTED_FEATURES & set(descriptor.get("features", ()))
            and "uefi" in descriptor.get("interface-types", ())
        )
        if is_plain_flash and _fits_machine(descriptor, architecture, machine):
            parts = (mapping["executable"], mapping["nvram-template"])
            if all(part["format"] == "raw" for part in parts):
                return FirmwareFiles(*(part["filename"] for part in parts))
    return None


def _fits_machine(descriptor: Mapping[str, Any], architecture: Architecture, machine: str) -> bool:
    machine_name = _MACHINE_ALIASES.get(machine, machine)
    return any(
        target.get("architecture") == architecture
        and any(fnmatch(machine_name, pattern) for pattern in target.get("machines", ()))
        for target in descriptor.get("targets", ())
    )


def _read_descriptors(host: Host) -> list[Mapping[str, Any]]:
    """Return the firmware descriptors of a host that are valid JSON, sorted by file name."""
    output = host.shell.run("sh", "-c", _READ_DESCRIPTORS_SCRIPT, "sh", *DESCRIPTOR_FOLDERS).stdout
    parts = output.split("\0")
    texts = {
        path.rpartition("/")[2]: text for path, text in zip(parts[::2], parts[1::2], strict=False)
    }
    descriptors = []
    for _, text in sorted(texts.items()):
        try:
            descriptors.append(json.loads(text))
        except ValueError:
            continue
    return descriptors
