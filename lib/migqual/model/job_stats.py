"""Typed statistics of a libvirt job (virDomainGetJobStats)."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class JobStats:
    """The statistics of a job at one moment, or of a completed job.

    A property is None when libvirt did not report the statistic, except `is_active` (False) and
    `job_type` (0). A property raises ValueError when the statistic is not a number.

    Attributes:
        values: Value of each statistic, by libvirt's name of the statistic.
    """

    values: Mapping[str, int | str] = field(default_factory=dict)

    def _get_number(self, name: str) -> int | None:
        value = self.values.get(name)
        return None if value is None else int(value)

    @property
    def is_active(self) -> bool:
        """Return whether a job exists (``type`` is not VIR_DOMAIN_JOB_NONE)."""
        return bool(self._get_number("type"))

    @property
    def job_type(self) -> int:
        """Return the job type as a number of virDomainJobType, or 0 if no job exists."""
        return self._get_number("type") or 0

    @property
    def operation(self) -> int | None:
        """Return the operation of the job as a number of virDomainJobOperation."""
        return self._get_number("operation")

    @property
    def total_time_ms(self) -> int | None:
        """Return the time since the start of the job in ms (``time_elapsed``)."""
        return self._get_number("time_elapsed")

    @property
    def setup_time_ms(self) -> int | None:
        """Return the ms from the start of the job to the first memory data (``setup_time``)."""
        return self._get_number("setup_time")

    @property
    def downtime_ms(self) -> int | None:
        """Return the downtime in ms (``downtime``), which is an estimate while the job runs."""
        return self._get_number("downtime")

    @property
    def downtime_net_ms(self) -> int | None:
        """Return the downtime in ms without the time to send control data (``downtime_net``)."""
        return self._get_number("downtime_net")

    @property
    def data_processed_bytes(self) -> int | None:
        """Return the number of bytes sent so far for memory and disks (``data_processed``)."""
        return self._get_number("data_processed")

    @property
    def memory_total_bytes(self) -> int | None:
        """Return the size of guest memory in bytes (``memory_total``)."""
        return self._get_number("memory_total")

    @property
    def memory_processed_bytes(self) -> int | None:
        """Return the number of bytes sent so far for guest memory (``memory_processed``)."""
        return self._get_number("memory_processed")

    @property
    def memory_remaining_bytes(self) -> int | None:
        """Return the number of bytes of guest memory still to send (``memory_remaining``)."""
        return self._get_number("memory_remaining")

    @property
    def memory_bytes_per_s(self) -> int | None:
        """Return the speed of the transfer of guest memory in bytes/s (``memory_bps``)."""
        return self._get_number("memory_bps")

    @property
    def memory_iteration(self) -> int | None:
        """Return the number of the current iteration over guest memory (``memory_iteration``)."""
        return self._get_number("memory_iteration")

    @property
    def dirty_rate_pages_per_s(self) -> int | None:
        """Return the dirty rate that QEMU measured, in pages/s (``memory_dirty_rate``)."""
        return self._get_number("memory_dirty_rate")

    @property
    def zero_pages(self) -> int | None:
        """Return the number of pages with equal bytes, usually zeros (``memory_constant``)."""
        return self._get_number("memory_constant")

    @property
    def normal_pages(self) -> int | None:
        """Return the number of pages sent with their whole contents (``memory_normal``)."""
        return self._get_number("memory_normal")

    @property
    def normal_bytes(self) -> int | None:
        """Return the bytes in all pages sent with whole contents (``memory_normal_bytes``)."""
        return self._get_number("memory_normal_bytes")

    @property
    def postcopy_requests(self) -> int | None:
        """Return the number of pages that the destination requested in post-copy."""
        return self._get_number("memory_postcopy_requests")

    @property
    def throttle_percent(self) -> int | None:
        """Return the CPU throttle of auto-converge in percent (``auto_converge_throttle``)."""
        return self._get_number("auto_converge_throttle")

    @property
    def disk_total_bytes(self) -> int | None:
        """Return the total size of the copied disks in bytes (``disk_total``)."""
        return self._get_number("disk_total")

    @property
    def disk_processed_bytes(self) -> int | None:
        """Return the number of bytes sent so far for disks (``disk_processed``)."""
        return self._get_number("disk_processed")

    @property
    def xbzrle_cache_bytes(self) -> int | None:
        """Return the size of the xbzrle cache in bytes (``compression_cache``)."""
        return self._get_number("compression_cache")

    @property
    def xbzrle_bytes(self) -> int | None:
        """Return how many bytes xbzrle sent for page differences (``compression_bytes``)."""
        return self._get_number("compression_bytes")

    @property
    def xbzrle_pages(self) -> int | None:
        """Return how many pages xbzrle sent as differences (``compression_pages``)."""
        return self._get_number("compression_pages")

    @property
    def xbzrle_cache_misses(self) -> int | None:
        """Return how many pages were not in xbzrle's cache (``compression_cache_misses``)."""
        return self._get_number("compression_cache_misses")

    @property
    def xbzrle_overflow_pages(self) -> int | None:
        """Return how many pages differed too much for xbzrle (``compression_overflow``)."""
        return self._get_number("compression_overflow")
