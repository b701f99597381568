"""The compression methods with their levels, and the bytes sent by a migration with a method."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from migqual.errors import InconclusiveError
from migqual.hosts import qemu_probe, qemu_threads
from migqual.hosts.guest import Guest
from migqual.model.guest_spec import MemoryLoad, PageContent
from migqual.model.outcome import JobSample
from migqual.model.plan import Compression, CompressionOptions, Control, Plan
from migqual.model.qemu_parameter import ParameterEnds, QemuParameter
from migqual.testbed.host_pair import HostPair
from migqual.testbed.testbed import Testbed
from suites.support.compression import (
    MAX_COMPRESSED_SHARE,
    MAX_INCOMPRESSIBLE_SHARE,
    SLOW_METHOD_DEADLINE_S,
    SUSPEND_TIMEOUT,
    CountedMigration,
    migrate_and_count_bytes,
)

DATA_MIB = 32
CHANGING_TEXT = "changing-text"  # text, some of which changes while it is sent
CHANGE_RATE_MIB_S = 1  # in most cases, even the slowest method sends more than this rate
DATA_KINDS = (
    *(str(content) for content in (PageContent.TEXT, PageContent.RANDOM, PageContent.ZERO)),
    CHANGING_TEXT,
)
STORE_LEVEL = 0  # zlib compresses nothing at level 0; zstd uses its default level instead
# The tests subtract the bytes sent for zeroes from the bytes sent for random data. The result with
# a method may be at most 1.1 times the result without compression. The other memory of the guest
# differs by about 1 MiB from one migration to the next.
MAX_RANDOM_OVERHEAD = 1.1


@dataclass(frozen=True)
class CompressionMethod:
    """A compression method with the levels and numbers of connections to test.

    The libvirt binding may be older than the libvirt of the hosts, and may not know a method or a
    level. migqual then sets a parameter of QEMU with the QEMU monitor.

    Attributes:
        compression: Name of the method in libvirt; NONE if libvirt has no name for the method.
        levels: Compression levels; None for a method without levels.
        connections: Numbers of parallel connections; 0 for a single stream.
        method_setting: QEMU parameter that selects the method; None if libvirt selects the method.
        level_parameter: QEMU parameter for the level; empty if libvirt sets the level.
    """

    compression: Compression
    levels: tuple[int | None, ...] = (None,)
    connections: tuple[int, ...] = (0,)
    method_setting: QemuParameter | None = None
    level_parameter: str = ""

    def build_plan(self, level: int | None, connections: int) -> Plan:
        settings = [self.method_setting] if self.method_setting else []
        if level is not None and self.level_parameter:
            settings.append(QemuParameter(self.level_parameter, level))
        tuning = CompressionOptions(level=None if self.level_parameter else level)
        return Plan(
            control=Control.DIRECT,  # with p2p, the destination's error message may get lost
            compression=self.compression,
            channels=connections,
            timeout=SUSPEND_TIMEOUT,
            deadline_s=SLOW_METHOD_DEADLINE_S,
            compression_options=tuning,
            qemu_parameters=tuple(settings),
        )

    def list_supported_levels(self, pair: HostPair) -> tuple[int | None, ...]:
        """Return the compression levels. Omit level 0 (store) if a host refuses level 0.

        openEuler's QEMU refuses level 0 for the method `mt`, in which QEMU threads compress the
        pages. For a method without levels, the result is (None,).
        """
        if self.compression is not Compression.MT or STORE_LEVEL not in self.levels:
            return self.levels
        refusals = [
            qemu_probe.find_parameter_refusal(host, "compress-level", STORE_LEVEL)
            for host in pair.hosts
        ]
        return tuple(level for level in self.levels if level != STORE_LEVEL or not any(refusals))

    @property
    def required_settings(self) -> list[QemuParameter]:
        """Return the QEMU parameters that the method needs; both hosts must support them."""
        return list(self.build_plan(self.levels[0], self.connections[0]).qemu_parameters)


def make_thread_method(method: str, *levels: int) -> CompressionMethod:
    """Make a compression method of the kind `mt`: threads of QEMU compress the pages.

    Args:
        method: Value of the parameter `compress-method` of openEuler's QEMU, for example `zstd`.
        *levels: The compression levels to test.
    """
    return CompressionMethod(
        Compression.MT,
        levels,
        method_setting=QemuParameter("compress-method", method, ParameterEnds.BOTH),
    )


def make_multifd_method(method: str) -> CompressionMethod:
    """Make a compression method for parallel connections (multifd).

    libvirt has no name for the method, so a QEMU parameter selects the method.
    """
    method_setting = QemuParameter("multifd-compression", method, ParameterEnds.BOTH)
    return CompressionMethod(Compression.NONE, connections=(2,), method_setting=method_setting)


# The requirement is about the methods in which QEMU threads compress the pages (`mt`). The methods
# for parallel connections go beyond the requirement.
METHODS = {
    "mt": CompressionMethod(Compression.MT, (0, 1, 9)),
    "mt-zlib": make_thread_method("zlib", 1, 9),
    "mt-zstd": make_thread_method("zstd", 1, 9),
    "multifd-zlib": CompressionMethod(
        Compression.ZLIB, (0, 1, 9), (1, 2, 4), level_parameter="multifd-zlib-level"
    ),
    "multifd-zstd": CompressionMethod(
        Compression.ZSTD, (0, 1, 9), (1, 2, 4), level_parameter="multifd-zstd-level"
    ),
    "multifd-qatzip": make_multifd_method("qatzip"),
    "multifd-qpl": make_multifd_method("qpl"),
    "multifd-uadk": make_multifd_method("uadk"),
}


@dataclass
class SendThreadCounter:
    """A counter of the QEMU threads that send over the parallel connections of a migration.

    Attributes:
        thread_counts: All counts seen. The threads start one after another, so only the largest
            count must equal the number of connections.
    """

    guest: Guest
    thread_counts: set[int] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.host, self.pid = self.guest.host, qemu_threads.find_qemu_pid(self.guest)

    def on_sample(self, sample: JobSample) -> None:
        """Count the sender threads at each job sample; never abort the migration."""
        if sample.stats.memory_processed_bytes:
            thread_list = qemu_threads.list_threads(self.host, self.pid)
            self.thread_counts.add(sum(thread.is_multifd_sender for thread in thread_list))


@dataclass(frozen=True)
class MethodResult:
    """The result for a combination of level, kind of data and number of connections.

    Attributes:
        level: Compression level; None for a method without levels.
        data_kind: Kind of data in the guest's memory.
        connections: Number of parallel connections; 0 for a single stream.
        migration: The migration with the byte counts.
        thread_counts: Numbers of sender threads seen during the migration.
    """

    level: int | None
    data_kind: str
    connections: int
    migration: CountedMigration
    thread_counts: set[int]

    def __str__(self) -> str:
        level = "" if self.level is None else f"level {self.level}, "
        return f"{level}{self.data_kind}, {self.connections or 'no parallel'} connections"

    def compute_link_share(self, plain_migrations: Mapping[str, CountedMigration]) -> float:
        """Return the bytes on the link, divided by the bytes on the link in the plain migration.

        The plain migration sends the same kind of data without compression.
        """
        return self.migration.link_bytes / plain_migrations[self.data_kind].link_bytes

    def compute_reported_share(self, plain_migrations: Mapping[str, CountedMigration]) -> float:
        """Return the reported bytes, divided by the reported bytes of the plain migration.

        The job statistics report the bytes. The plain migration sends the same kind of data
        without compression.
        """
        return self.migration.reported_bytes / plain_migrations[self.data_kind].reported_bytes

    @property
    def max_share(self) -> float:
        """Return the limit for the sent bytes, as a share of the bytes of the plain migration.

        For example, the limit for compressed text is 0.8, which means 80 %.
        """
        is_zstd = self.migration.outcome.plan.compression is Compression.ZSTD
        is_text = self.data_kind in {str(PageContent.TEXT), CHANGING_TEXT}
        if is_text and (is_zstd or self.level != STORE_LEVEL):
            return MAX_COMPRESSED_SHARE
        # The number of sends of a changing page depends on the speed of the migration.
        return float("inf") if self.data_kind == CHANGING_TEXT else MAX_INCOMPRESSIBLE_SHARE

    def find_violation(self, plain_migrations: Mapping[str, CountedMigration]) -> str:
        """Describe a wrong number of sender threads or too many bytes; return "" if all is correct.

        The kernel counts the bytes on the link, and the job statistics count the sent bytes. The
        bytes are too many only if both counts are over the limit. The limit is `max_share` of the
        bytes of the plain migration, which sends the same data without compression.
        """
        # The threads start one after another, so only the maximum is the number of threads.
        if max(self.thread_counts, default=0) not in {0, self.connections}:
            return (
                f"{self}: expected {self.connections} sender threads, "
                f"but the counts during the migration were {sorted(self.thread_counts)}"
            )
        share = min(
            self.compute_link_share(plain_migrations), self.compute_reported_share(plain_migrations)
        )
        message = f"{self}: the migration sent {share:.1%} of the bytes of the plain migration"
        return message if share > self.max_share else ""

    def find_byte_mismatch(self, plain_migrations: Mapping[str, CountedMigration]) -> str:
        """Return a description if the kernel counted too many bytes but the job did not; else "".

        The kernel counts the bytes on the link, and the job statistics count the sent bytes. The
        limit for each count is `max_share` of the count in the plain migration. If only the
        kernel's count is over the limit, the job statistics do not include all bytes on the link,
        and the test is inconclusive.

        Call the method only if `find_violation` returned "". Otherwise both counts can be over the
        limit.
        """
        if self.compute_link_share(plain_migrations) <= self.max_share:
            return ""
        return (
            f"{self}: in comparison with the plain migration, the link carried "
            f"{self.compute_link_share(plain_migrations):.1%} of the bytes, but the job reported "
            f"only {self.compute_reported_share(plain_migrations):.1%}"
        )


def migrate_with_method(
    testbed: Testbed,
    guest: Guest,
    method: CompressionMethod,
    row: tuple[int | None, str, int],
) -> MethodResult:
    """Migrate the guest with the compression method, and count the sent bytes.

    Args:
        testbed: The testbed of the test.
        guest: The guest; its memory already contains the kind of data that `row` names.
        method: The compression method.
        row: Compression level, kind of data, and number of connections: one combination of the
            matrix of the test.
    """
    level, data_kind, connections = row
    thread_counter = SendThreadCounter(guest)
    plan = method.build_plan(level, connections)
    migration = migrate_and_count_bytes(testbed, guest, plan, on_sample=thread_counter.on_sample)
    return MethodResult(level, data_kind, connections, migration, thread_counter.thread_counts)


def find_violations(
    results: Sequence[MethodResult], plain_migrations: Mapping[str, CountedMigration]
) -> list[str]:
    """Describe each migration with a wrong number of sender threads, or with too many sent bytes.

    The number of sender threads must be the number of parallel connections. The limit for the bytes
    is `MethodResult.max_share` of the bytes of the plain migration.
    """
    return [
        violation for result in results if (violation := result.find_violation(plain_migrations))
    ]


def find_overhead_violations(
    results: Sequence[MethodResult], plain_migrations: Mapping[str, CountedMigration]
) -> list[str]:
    """Describe each level at which a compression method enlarges random data.

    The size of the random data on the link is a difference: the sent bytes of a migration with
    random data, minus the sent bytes of a migration with zeroes in the same memory. The job
    statistics count the bytes. With the method, the difference may be at most 1.1 times the
    difference without compression.
    """
    random, zero = str(PageContent.RANDOM), str(PageContent.ZERO)
    plain_overhead = plain_migrations[random].reported_bytes - plain_migrations[zero].reported_bytes
    zero_bytes_by_level = {
        result.level: result.migration.reported_bytes
        for result in results
        if result.data_kind == zero
    }
    overheads = [
        (result, result.migration.reported_bytes - zero_bytes_by_level[result.level])
        for result in results
        if result.data_kind == random
    ]
    return [
        f"{result}: random data takes {overhead} bytes more than zeroes; "
        f"without compression {plain_overhead} bytes more"
        for result, overhead in overheads
        if overhead > plain_overhead * MAX_RANDOM_OVERHEAD
    ]


def list_text_shares_by_level(
    results: Sequence[MethodResult], plain_migrations: Mapping[str, CountedMigration]
) -> list[float]:
    """List the shares of bytes sent when guest memory contains text, by rising compression level.

    A share is the number of bytes on the link, divided by the number in the plain migration. Level
    0 (store) is left out.
    """
    share_by_level = {
        result.level: result.compute_link_share(plain_migrations)
        for result in results
        if result.data_kind == PageContent.TEXT and result.level
    }
    return [share_by_level[level] for level in sorted(share_by_level)]


def require_conclusive_counts(
    results: Sequence[MethodResult], plain_migrations: Mapping[str, CountedMigration]
) -> None:
    """Require complete counts of the sent bytes and of the sender threads.

    Raises:
        InconclusiveError: The job did not report all bytes on the link, or a migration over
            parallel connections ended before a sender thread was counted.
    """
    if mismatches := [
        mismatch for result in results if (mismatch := result.find_byte_mismatch(plain_migrations))
    ]:
        raise InconclusiveError("; ".join(mismatches))
    if not all(any(result.thread_counts) for result in results if result.connections):
        raise InconclusiveError("a migration ended before its sender threads could be counted")


def build_load(data_kind: str) -> MemoryLoad:
    if data_kind == CHANGING_TEXT:
        return MemoryLoad(size_mib=DATA_MIB, content=PageContent.TEXT, rate_mib_s=CHANGE_RATE_MIB_S)
    return MemoryLoad(size_mib=DATA_MIB, content=PageContent(data_kind))
