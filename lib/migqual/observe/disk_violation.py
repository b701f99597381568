"""A violation about the contents of a disk, apart from all other violations."""

from typing import Self


class DiskViolation(str):
    """The message of a violation about the contents or the image of one disk of a guest.

    Attributes:
        target: Name of the disk in the guest, for example `vda`.
    """

    __slots__ = ("target",)
    target: str

    def __new__(cls, target: str, message: str) -> Self:
        """Create the message of a violation for the disk `target`."""
        violation = super().__new__(cls, message)
        violation.target = target
        return violation
