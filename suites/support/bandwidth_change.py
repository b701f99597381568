"""A change of the bandwidth limit while a guest migrates."""

import threading
from dataclasses import dataclass

from migqual.errors import HostError, InconclusiveError
from migqual.hosts.domain import Domain
from migqual.model.outcome import JobSample

JOIN_TIMEOUT_S = 20.0


@dataclass
class BandwidthChange:
    """A change of the bandwidth limit during a migration.

    A separate thread sets the limit: libvirt may take long, and sampling continues meanwhile.
    All times are in s after the start of the migration, except `delay_s`.

    Attributes:
        domain: The migrating domain.
        limit_mib_s: The new limit.
        delay_s: Delay of the change after the first data.
        last_sample_s: Time of the last sample.
        first_data_s: Time of the first sample with sent data.
        requested_s: Time of the request for the change.
        applied_s: Time of the completed change.
        reported_mib_s: The new limit as reported by libvirt.
        refusal: Error message of a failed change; else empty.
    """

    domain: Domain
    limit_mib_s: int
    delay_s: float
    last_sample_s: float = 0.0
    first_data_s: float | None = None
    requested_s: float | None = None
    applied_s: float | None = None
    reported_mib_s: int | None = None
    refusal: str = ""

    def __post_init__(self) -> None:
        self._thread = threading.Thread(target=self._set_limit)

    def on_sample(self, sample: JobSample) -> None:
        """Change the bandwidth limit `delay_s` seconds after the first sample with sent data.

        The method only starts the thread that sets the new limit. The method never requests an
        abort of the migration.
        """
        self.last_sample_s = sample.at_s
        if self.first_data_s is None and sample.stats.memory_processed_bytes:
            self.first_data_s = sample.at_s
        is_due = self.first_data_s is not None and sample.at_s - self.first_data_s > self.delay_s
        if is_due and self.requested_s is None:
            self.requested_s = sample.at_s
            self._thread.start()

    def _set_limit(self) -> None:
        try:
            self.domain.set_bandwidth(self.limit_mib_s)
            self.applied_s = self.last_sample_s
            self.reported_mib_s = self.domain.query_bandwidth_mib_s()
        except HostError as error:
            self.refusal = error.message

    def wait_for_times_s(self) -> tuple[float, float, float]:
        """Wait until the bandwidth limit is changed, and return the times of the change.

        Returns:
            Times of the first sent data, of the request for the new limit, and of the completed
            change, in s after the start of the migration.

        Raises:
            InconclusiveError: The migration ended before the limit was changed, or before the new
                limit was read from libvirt. If libvirt reported an error, the exception contains
                the message of libvirt.
        """
        if self.requested_s is not None:
            self._thread.join(JOIN_TIMEOUT_S)
        if self.first_data_s is None or self.requested_s is None or self.applied_s is None:
            raise InconclusiveError(
                "the migration ended before the bandwidth limit could be changed; "
                f"error message of libvirt: {self.refusal or 'none'}"
            )
        if self.reported_mib_s is None:
            raise InconclusiveError(
                "the migration ended before the new bandwidth limit could be read; "
                f"error message of libvirt: {self.refusal or 'none'}"
            )
        return self.first_data_s, self.requested_s, self.applied_s
