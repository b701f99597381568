"""A pair of connected hosts."""

from dataclasses import dataclass

from migqual.hosts.host import Host


@dataclass(frozen=True)
class HostPair:
    """A source host and a destination host, connected.

    Attributes:
        lane_number: Position of the pair among the lanes of the inventory.
        clock_error_us: The largest possible difference between the clocks of the hosts.
    """

    source: Host
    destination: Host
    lane_number: int = 0
    clock_error_us: int = 0

    @property
    def id(self) -> str:
        """Return the id of the pair, `SOURCE-DESTINATION`."""
        return f"{self.source.name}-{self.destination.name}"

    @property
    def hosts(self) -> tuple[Host, Host]:
        """Return the source and the destination."""
        return self.source, self.destination

    def get_peer(self, host: Host) -> Host:
        """Return the other host of the pair."""
        return self.destination if host.name == self.source.name else self.source
