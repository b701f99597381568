"""Errors of libvirt and QEMU that report a missing feature of a host."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from migqual.errors import MigqualError, UnsupportedError


@contextmanager
def raise_unsupported_if(
    is_unsupported: Callable[[MigqualError], bool], *, explanation: str = ""
) -> Iterator[None]:
    """Raise an error of the block as `UnsupportedError` where a feature is missing.

    Args:
        is_unsupported: Whether an error of the block reports a missing feature.
        explanation: Added to the message of libvirt or QEMU.

    Raises:
        UnsupportedError: With the message of libvirt or QEMU.
    """
    try:
        yield
    except MigqualError as error:
        if not is_unsupported(error):
            raise
        raise UnsupportedError("; ".join(filter(None, (error.message, explanation)))) from error
