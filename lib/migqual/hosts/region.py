"""A working set that the guest program dirties beside its witness pages; told and counted."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from migqual.errors import GuestError
from migqual.hosts.guest import Guest
from migqual.model.guest import MemoryLoad

NAME = "load"
_FILL_SECONDS = 120.0


@dataclass(frozen=True)
class Region:
    """A region of `guest` that is written to."""

    guest: Guest

    def restart(self, rate_mib_s: int | None) -> None:
        """Dirty at another rate; None as fast as it goes. The count begins anew."""
        rate = "max" if rate_mib_s is None else str(rate_mib_s)
        self.guest.payload("memory", "rate", NAME, f"rate_mib_s={rate}")

    def achieved_mib_s(self) -> float:
        """Written since the rate was set, by the program's own count."""
        regions = self.guest.status()["memory"]
        return next(float(one["dirty_mib_s"]) for one in regions if one["name"] == NAME)

    def damage(self) -> str:
        """What is wrong with its pages; empty when nothing is."""
        answer = self.guest.payload("memory", "verify", NAME, seconds=_FILL_SECONDS)
        bad = int(answer["bad"]) + int(answer["bad_dirtying"])
        if not answer["checked"]:
            raise GuestError(f"{self.guest.name}: no page of {NAME} was checked")
        return f"{NAME}: {bad} bad pages of {answer['checked']}" if bad else ""


@contextmanager
def region(guest: Guest, load: MemoryLoad) -> Iterator[Region]:
    """Filled and dirtied while the block runs; its memory is the guest's again afterwards."""
    guest.payload("memory", "start", NAME, *load.words, seconds=_FILL_SECONDS)
    try:
        made = Region(guest)
        made.restart(load.rate_mib_s)
        yield made
    finally:
        guest.payload("memory", "free", NAME)
