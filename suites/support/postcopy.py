"""Migrations with post-copy, on hosts with and without support for post-copy."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

from migqual.errors import MigrationRefused
from migqual.model.outcome import Outcome
from migqual.testbed.host_pair import HostPair
from suites.support.unsupported import raise_unsupported_if

# QEMU's message if the kernel denies userfaultfd; libvirt's message if QEMU is too old
_UNSUPPORTED_PATTERN = re.compile(
    r"(?i)post-?copy\S*( migration)? is not supported|userfaultfd not available"
)


@contextmanager
def require_postcopy() -> Iterator[None]:
    """Raise UnsupportedError if a migration in the `with` block is refused for lack of post-copy.

    Any other refusal of the migration passes through to the caller.

    Raises:
        UnsupportedError: The source or the destination does not support post-copy. The error
            contains the message of libvirt or QEMU.
    """
    with raise_unsupported_if(
        lambda error: isinstance(error, MigrationRefused) and is_postcopy_unsupported(error.message)
    ):
        yield


def is_postcopy_unsupported(message: str) -> bool:
    """Return whether the message of a refusal reports missing post-copy support."""
    return bool(_UNSUPPORTED_PATTERN.search(message))


def find_postcopy_start_s(outcome: Outcome, pair: HostPair) -> float:
    """Return when the source switched to post-copy, in s after the start of the migration."""
    refusals = "; ".join(event.detail for event in outcome.events if event.name == "refused")
    assert outcome.has_entered_postcopy, (
        f"the migration ended without post-copy; refusals: {refusals or 'none'}"
    )
    return next(
        event.at_s
        for event in outcome.events
        if event.host == pair.source.name and "postcopy-active" in event.detail
    )
