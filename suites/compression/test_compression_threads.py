"""Compression threads: the number in the QEMU processes, and pages waiting for a thread."""

from collections import Counter

import pytest

from migqual.errors import InconclusiveError
from migqual.hosts import qemu_threads
from migqual.hosts.guest import Guest
from migqual.model.outcome import JobSample
from migqual.model.plan import Compression, CompressionOptions, Control, Plan
from migqual.model.qemu_parameter import QemuParameter
from migqual.testbed.testbed import Testbed
from suites.support.compression import (
    DIRTYING_GUEST,
    fill_memory,
    list_changed_parameters,
    make_text_load,
    migrate_and_count_bytes,
    query_migration_parameters,
    read_parameter_state,
    require_parameter,
)

SLOW_BANDWIDTH_MIB_S = 16  # so that there is time to count the threads
DATA_MIB = 32
PAGES_PER_MIB = 256


# threads at the source, threads at the destination
THREAD_COUNTS = ((1, 1), (3, 5), (255, 255))


@pytest.mark.requirement("LM-PAR-05", "LM-PAR-07")
def test_compress_and_decompress_thread_counts(testbed: Testbed) -> None:
    """
    The source compresses and the destination decompresses with the requested number of threads.

    Preconditions: both ends offer threaded compression.
    Expected: while the guest migrates, each of the two QEMU processes has exactly the requested
    number of threads with the expected name. The first migration requests 1 thread at the source
    and 1 at the destination, the second 3 and 5, the third 255 and 255 (the maximum).
    """
    require_parameter(testbed.pair, "compress-threads", THREAD_COUNTS[0][0])
    guest = testbed.make_guest(DIRTYING_GUEST)

    observed_counts = [
        count_compression_threads(testbed, guest, *counts) for counts in THREAD_COUNTS
    ]

    assert observed_counts == list(THREAD_COUNTS)


def count_compression_threads(
    testbed: Testbed, guest: Guest, compress_threads: int, decompress_threads: int
) -> tuple[int, int]:
    """Count the compressing and decompressing threads during a migration.

    Returns:
        Compressing threads at the source, and decompressing threads at the destination.

    Raises:
        InconclusiveError: The migration ended before the threads were counted.
    """
    hosts = guest.host, testbed.pair.get_peer(guest.host)
    thread_counters: list[Counter[str]] = []

    def sample_threads(sample: JobSample) -> None:
        if not thread_counters and sample.stats.memory_processed_bytes:
            thread_counters.extend(
                qemu_threads.count_threads_by_name(host, guest.name) for host in hosts
            )

    tuning = CompressionOptions(threads=compress_threads, decompress_threads=decompress_threads)
    plan = Plan(
        control=Control.DIRECT,
        compression=Compression.MT,
        compression_options=tuning,
        bandwidth_mib_s=SLOW_BANDWIDTH_MIB_S,
    )
    migrate_and_count_bytes(testbed, guest, plan, on_sample=sample_threads)
    if not thread_counters:
        raise InconclusiveError("the migration ended before the compression threads were counted")
    return thread_counters[0]["compress"], thread_counters[1]["decompress"]


@pytest.mark.requirement("LM-PAR-06")
@pytest.mark.slow
def test_compress_wait_thread(testbed: Testbed) -> None:
    """
    The parameter `compress-wait-thread` decides whether a page waits for a free compressing thread
    or is sent uncompressed.

    Preconditions: both ends offer threaded compression; the source has a single compressing
    thread, which is always busy. The guest memory contains 32 MiB of text, which is 8192 pages.
    Expected: QEMU reports the set value while the guest migrates. With waiting, QEMU sends fewer
    than 820 pages uncompressed (a tenth of the text). Without waiting, QEMU sends more than 2048
    pages uncompressed (a quarter of the text). After each migration the previous value is in force
    again.
    """
    require_parameter(testbed.pair, "compress-wait-thread", value=True)
    guest = testbed.make_guest(DIRTYING_GUEST)
    parameters_before = read_parameter_state(guest)

    with fill_memory(guest, make_text_load(DATA_MIB)):
        wait_value, wait_normal_pages = migrate_with_wait_setting(
            testbed, guest, wait_for_thread=True
        )
        assert list_changed_parameters(guest, parameters_before) == {}
        no_wait_value, no_wait_normal_pages = migrate_with_wait_setting(
            testbed, guest, wait_for_thread=False
        )

    assert list_changed_parameters(guest, parameters_before) == {}
    assert (wait_value, no_wait_value) == (True, False)
    assert wait_normal_pages < DATA_MIB * PAGES_PER_MIB / 10
    assert no_wait_normal_pages > DATA_MIB * PAGES_PER_MIB / 4


def migrate_with_wait_setting(
    testbed: Testbed, guest: Guest, *, wait_for_thread: bool
) -> tuple[object, int]:
    """Migrate with the given value of `compress-wait-thread` and count uncompressed pages.

    Returns:
        The value in force during the migration, and the number of uncompressed pages.

    Raises:
        InconclusiveError: The migration ended before the value was read, or libvirt did not
            report the number of uncompressed pages.
    """
    values_in_force: list[object] = []

    def record_value(sample: JobSample) -> None:
        if not values_in_force and sample.stats.memory_processed_bytes:
            values_in_force.append(query_migration_parameters(guest)["compress-wait-thread"])

    plan = Plan(
        control=Control.DIRECT,
        compression=Compression.MT,
        compression_options=CompressionOptions(level=9, threads=1),
        qemu_parameters=(QemuParameter("compress-wait-thread", wait_for_thread),),
    )
    migration = migrate_and_count_bytes(testbed, guest, plan, on_sample=record_value)
    if not values_in_force:
        raise InconclusiveError("the migration ended before compress-wait-thread could be read")
    return values_in_force[0], migration.normal_pages
