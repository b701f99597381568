"""Define the CPU architectures of guests, and their names in Debian, EFI and QEMU."""

import platform
from enum import StrEnum

from migqual.errors import LabError


class Architecture(StrEnum):
    """CPU architecture of a guest, with the names of the Linux kernel."""

    X86_64 = "x86_64"
    AARCH64 = "aarch64"

    @property
    def machine_type(self) -> str:
        """Return QEMU's machine type for the architecture."""
        return {Architecture.X86_64: "q35", Architecture.AARCH64: "virt"}[self]

    @property
    def debian_name(self) -> str:
        """Return Debian's name of the architecture."""
        return {Architecture.X86_64: "amd64", Architecture.AARCH64: "arm64"}[self]

    @property
    def efi_suffix(self) -> str:
        """Return the suffix in the file names of EFI programs."""
        return {Architecture.X86_64: "x64", Architecture.AARCH64: "aa64"}[self]

    @property
    def console_device(self) -> str:
        """Return the name of the first serial port in a Linux guest."""
        return {Architecture.X86_64: "ttyS0", Architecture.AARCH64: "ttyAMA0"}[self]

    @property
    def emulated_cpu(self) -> str:
        """Return the CPU model of guests under TCG; empty where QEMU's default is suitable.

        QEMU's default CPU for the machine type `virt` has 32 bits, but AARCH64 guests need 64 bits.
        """
        return {Architecture.X86_64: "", Architecture.AARCH64: "cortex-a57"}[self]

    @property
    def emulator_packages(self) -> tuple[str, ...]:
        """Return Debian's packages with QEMU and the firmware for the architecture."""
        return {
            Architecture.X86_64: ("ovmf", "qemu-system-x86", "seabios"),
            Architecture.AARCH64: ("qemu-efi-aarch64", "qemu-system-arm"),
        }[self]

    @property
    def compiler(self) -> str:
        """Return the name of the C compiler that builds programs for the architecture.

        The compiler is `cc` if the machine that runs migqual has the architecture. Otherwise the
        compiler is GNU's cross compiler.
        """
        return "cc" if platform.machine() == self else f"{self}-linux-gnu-gcc"


def get_machine_architecture() -> Architecture:
    """Return the architecture of the machine that runs migqual.

    Raises:
        LabError: migqual does not support guests of the architecture.
    """
    try:
        return Architecture(platform.machine())
    except ValueError:
        raise LabError(
            f"migqual has no guests for the architecture {platform.machine()}",
            remedy=f"use a machine with one of: {', '.join(Architecture)}",
        ) from None
