"""The values in force in QEMU while a guest migrates."""

import threading
from contextlib import suppress
from dataclasses import dataclass, field

from migqual.errors import HostError, InconclusiveError
from migqual.hosts.domain import Domain
from migqual.hosts.guest import Guest
from migqual.model.outcome import JobSample
from migqual.model.qemu_parameter import ParameterValue

REPLY_TIMEOUT_S = 20.0


@dataclass
class ParameterProbe:
    """A query for a migration parameter, sent once to the source's QEMU.

    The probe waits for a job sample that shows sent memory, and then sends the query. The query
    runs in a separate thread, because libvirt may take seconds to pass the query on. Sampling
    continues meanwhile.

    Attributes:
        guest: The migrating guest.
        name: The name of the parameter.
        values: The reply of QEMU; empty before the reply.
        thread: The thread of the query; None before the query.
    """

    guest: Guest
    name: str
    values: list[ParameterValue] = field(default_factory=list)
    thread: threading.Thread | None = None

    def on_sample(self, sample: JobSample) -> None:
        """Query the migration parameter `self.name` once, when a sample shows sent memory.

        A thread sends the query and stores the reply in `values`. The method returns None, so the
        migration continues.
        """
        if self.thread is None and sample.stats.memory_processed_bytes:
            self.thread = threading.Thread(target=self._query_parameter, args=(self.guest.domain,))
            self.thread.start()

    def _query_parameter(self, domain: Domain) -> None:
        with suppress(HostError):  # the migration may have ended before the query arrives
            self.values.append(domain.run_qmp_command("query-migrate-parameters")[self.name])

    @property
    def value(self) -> ParameterValue:
        """Return the value of the migration parameter that was in force during the migration.

        Raises:
            InconclusiveError: The migration ended before QEMU answered.
        """
        if self.thread is not None:
            self.thread.join(REPLY_TIMEOUT_S)
        if not self.values:
            raise InconclusiveError(f"the migration ended before QEMU reported {self.name}")
        return self.values[0]
