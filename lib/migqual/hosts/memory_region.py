"""Add a memory region to a guest, and dirty the region at a given rate.

The payload, migqual's program in the guest, writes to the region. The region is not the memory
region that migqual checks after each migration.
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
    """A region of guest memory that migqual's program in the guest dirties at a given rate."""

    guest: Guest

    def set_dirty_rate(self, rate_mib_s: int | None) -> None:
        """Set the rate in MiB/s at which the guest dirties this memory region; None means no limit.

        Afterwards `query_dirty_rate_mib_s` returns the mean rate since this call.
        """
        rate_argument = "max" if rate_mib_s is None else str(rate_mib_s)
        self.guest.run_payload_command("memory", "rate", LOAD_REGION, f"rate_mib_s={rate_argument}")

    def query_dirty_rate_mib_s(self) -> float:
        """Query the mean dirty rate in MiB/s since the last call of `set_dirty_rate`."""
        regions = self.guest.query_payload_status()["memory"]
        return next(
            float(region["dirty_mib_s"]) for region in regions if region["name"] == LOAD_REGION
        )

    def find_bad_pages(self) -> str:
        """Count the pages with wrong contents in the region.

        Returns:
            A message with the number of wrong pages; empty without wrong pages.

        Raises:
            GuestError: migqual's program in the guest checked no page.
        """
        reply = self.guest.run_payload_command(
            "memory", "verify", LOAD_REGION, seconds=_FILL_SECONDS
        )
        bad_page_count = int(reply["bad"]) + int(reply["bad_dirtying"])
        if not reply["checked"]:
            raise GuestError(
                f"{self.guest.name}: migqual's program in the guest checked no page of the memory "
                f"region {LOAD_REGION}, so damage in the region is not known"
            )
        if not bad_page_count:
            return ""
        return (
            f"{self.guest.name}: memory region {LOAD_REGION}: wrong contents in {bad_page_count} "
            f"of {reply['checked']} pages"
        )


@contextmanager
def memory_region(guest: Guest, load: MemoryLoad) -> Iterator[MemoryRegion]:
    """Add a memory region to the guest, and dirty the region during the `with` block.

    The region is separate from the memory region that migqual checks after each migration. After
    the block, the guest frees the memory of the added region.
    """
    guest.run_payload_command(
        "memory", "start", LOAD_REGION, *load.payload_arguments, seconds=_FILL_SECONDS
    )
    try:
        region = MemoryRegion(guest)
        region.set_dirty_rate(load.rate_mib_s)
        yield region
    finally:
        guest.run_payload_command("memory", "free", LOAD_REGION)
