"""What is in force while a guest migrates, by QEMU's own account."""

import threading
from contextlib import suppress
from dataclasses import dataclass, field

from migqual.errors import HostError, InconclusiveError
from migqual.hosts.domain import Domain
from migqual.hosts.guest import Guest
from migqual.model.outcome import JobSample
from migqual.model.setting import Value

ANSWER_SECONDS = 20.0


@dataclass
class InForce:
    """A migration parameter, asked of the source's QEMU once, with the first data. In a thread of
    its own: libvirt may take seconds to pass a question on, and samples go on meanwhile."""

    guest: Guest
    name: str
    found: list[Value] = field(default_factory=list)
    asking: threading.Thread | None = None

    def look(self, sample: JobSample) -> bool:
        """Called with each sample; never aborts."""
        if self.asking is None and int(sample.stats.get("memory_processed", 0)):
            self.asking = threading.Thread(target=self._ask, args=(self.guest.domain,))
            self.asking.start()
        return False

    def _ask(self, domain: Domain) -> None:
        with suppress(HostError):  # over by then
            self.found.append(domain.monitor("query-migrate-parameters")[self.name])

    @property
    def value(self) -> Value:
        """What was found. Raises `InconclusiveError` when it was over before QEMU answered."""
        if self.asking is not None:
            self.asking.join(ANSWER_SECONDS)
        if not self.found:
            raise InconclusiveError(f"it was over before QEMU told its {self.name}")
        return self.found[0]
