"""Errors of libvirt and QEMU that report a missing feature of a host."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from migqual.errors import MigqualError, UnsupportedError


@contextmanager
def raise_unsupported_if(
    is_unsupported: Callable[[MigqualError], bool], *, explanation: str = ""
) -> Iterator[None]:
    """Raise `UnsupportedError` if an error of the `with` block reports a missing feature.

    Any other error of the `with` block is raised unchanged.

    Args:
        is_unsupported: Function that returns whether an error reports a missing feature.
        explanation: Text to add to the message of libvirt or QEMU.

    Raises:
        UnsupportedError: The error reports a missing feature. The error contains the message of
            libvirt or QEMU.
    """
    try:
        yield
    except MigqualError as error:
        if not is_unsupported(error):
            raise
        raise UnsupportedError("; ".join(filter(None, (error.message, explanation)))) from error
