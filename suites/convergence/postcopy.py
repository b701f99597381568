"""Migrations that may use post-copy, on hosts that may lack it."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

from fixtures.plugins.hosts import Pair
from migqual.errors import MigrationRefused, UnsupportedError
from migqual.model.outcome import Outcome

# QEMU where the kernel keeps userfaultfd from it; libvirt where QEMU is too old
_LACKING = re.compile(r"(?i)post-?copy\S*( migration)? is not supported|userfaultfd not available")


@contextmanager
def where_offered() -> Iterator[None]:
    """A migration with post-copy. Raises `UnsupportedError` with the stack's words when one end
    lacks it; whatever else is refused stays a refusal."""
    try:
        yield
    except MigrationRefused as refused:
        if lacking(refused.words):
            raise UnsupportedError(refused.words) from refused
        raise


def lacking(words: str) -> bool:
    """Whether the stack refused with these words for want of post-copy."""
    return bool(_LACKING.search(words))


def switched_at_s(outcome: Outcome, pair: Pair) -> float:
    """When the source went over to post-copy, s from the start of the migration."""
    refused = "; ".join(event.detail for event in outcome.events if event.name == "refused")
    assert outcome.went_postcopy, f"it ended without post-copy: {refused or 'nobody refused it'}"
    return next(
        event.at_s
        for event in outcome.events
        if event.host == pair.source.name and "postcopy-active" in event.detail
    )
