"""A second memory region of a guest: the payload dirties the pages and counts the writes.

The checked memory region (`CHECKED_REGION`) exists beside the second region.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from migqual.errors import GuestError
from migqual.hosts.guest import Guest
from migqual.model.guest_spec import MemoryLoad

LOAD_REGION = "load"
_FILL_SECONDS = 120.0


@dataclass(frozen=True)
class MemoryRegion:
    """A dirtied memory region of a guest."""

    guest: Guest

    def set_dirty_rate(self, rate_mib_s: int | None) -> None:
        """Set the dirty rate and reset the count; None dirties as fast as possible."""
        rate_argument = "max" if rate_mib_s is None else str(rate_mib_s)
        self.guest.run_payload_command("memory", "rate", LOAD_REGION, f"rate_mib_s={rate_argument}")

    def query_dirty_rate_mib_s(self) -> float:
        """Query the dirty rate in MiB/s since `set_dirty_rate`, by the payload's count."""
        regions = self.guest.query_payload_status()["memory"]
        return next(
            float(region["dirty_mib_s"]) for region in regions if region["name"] == LOAD_REGION
        )

    def find_bad_pages(self) -> str:
        """Find bad pages of the region.

        Returns:
            The number of bad pages as a message; empty without bad pages.

        Raises:
            GuestError: The payload checked no page.
        """
        reply = self.guest.run_payload_command(
            "memory", "verify", LOAD_REGION, seconds=_FILL_SECONDS
        )
        bad_page_count = int(reply["bad"]) + int(reply["bad_dirtying"])
        if not reply["checked"]:
            raise GuestError(
                f"{self.guest.name}: no page of the memory region {LOAD_REGION} was checked"
            )
        if not bad_page_count:
            return ""
        return f"memory region {LOAD_REGION}: {bad_page_count} bad pages of {reply['checked']}"


@contextmanager
def memory_region(guest: Guest, load: MemoryLoad) -> Iterator[MemoryRegion]:
    """Yield a filled and dirtied memory region; free the memory after the block."""
    guest.run_payload_command(
        "memory", "start", LOAD_REGION, *load.payload_arguments, seconds=_FILL_SECONDS
    )
    try:
        region = MemoryRegion(guest)
        region.set_dirty_rate(load.rate_mib_s)
        yield region
    finally:
        guest.run_payload_command("memory", "free", LOAD_REGION)
