"""A bandwidth limit that changes while a guest migrates."""

import threading
from dataclasses import dataclass

from migqual.errors import HostError, InconclusiveError
from migqual.hosts.domain import Domain
from migqual.model.outcome import JobSample

JOIN_SECONDS = 20.0


@dataclass
class Change:
    """Sets the limit `after_s` from the first data. In a thread of its own: libvirt may take its
    time, and samples go on meanwhile. The moments are s from the start of the migration.

    told  the new limit as libvirt tells it, MiB/s
    """

    domain: Domain
    mib_s: int
    after_s: float
    latest_s: float = 0.0
    begun_s: float | None = None
    asked_s: float | None = None
    changed_s: float | None = None
    told: int | None = None
    refusal: str = ""

    def __post_init__(self) -> None:
        self._thread = threading.Thread(target=self._change)

    def look(self, sample: JobSample) -> bool:
        """Called with each sample; never aborts."""
        self.latest_s = sample.at_s
        if self.begun_s is None and int(sample.stats.get("memory_processed", 0)):
            self.begun_s = sample.at_s
        due = self.begun_s is not None and sample.at_s - self.begun_s > self.after_s
        if due and self.asked_s is None:
            self.asked_s = sample.at_s
            self._thread.start()
        return False

    def _change(self) -> None:
        try:
            self.domain.set_bandwidth(self.mib_s)
            self.changed_s = self.latest_s
            self.told = self.domain.bandwidth()
        except HostError as error:
            self.refusal = error.message

    def moments_s(self) -> tuple[float, float, float]:
        """When the first data went, the change was asked for, and it was made. Raises
        `InconclusiveError`, with the refusal if there was one, when the migration was over before
        that."""
        if self.asked_s is not None:
            self._thread.join(JOIN_SECONDS)
        if self.begun_s is None or self.asked_s is None or self.changed_s is None:
            raise InconclusiveError(f"over before the limit could be changed {self.refusal}")
        if self.told is None:
            raise InconclusiveError(f"over before the new limit could be read {self.refusal}")
        return self.begun_s, self.asked_s, self.changed_s
