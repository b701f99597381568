"""Define a pair of connected hosts: the source and the destination of migrations."""

from dataclasses import dataclass

from migqual.hosts.host import Host


@dataclass(frozen=True)
class HostPair:
    """A source host and a destination host, to which migqual has connections.

    Attributes:
        lane_number: Position of the pair among all pairs and replicas of the inventory, from 0.
        has_common_clock: True if both hosts have the clock of one machine, as the hosts of a lab.
    """

    source: Host
    destination: Host
    lane_number: int = 0
    has_common_clock: bool = False

    @property
    def id(self) -> str:
        """Return the id of the pair, `SOURCE-DESTINATION`."""
        return f"{self.source.name}-{self.destination.name}"

    @property
    def hosts(self) -> tuple[Host, Host]:
        """Return the source, then the destination."""
        return self.source, self.destination

    def get_peer(self, host: Host) -> Host:
        """Return the host of the pair that is not `host`."""
        return self.destination if host.name == self.source.name else self.source
