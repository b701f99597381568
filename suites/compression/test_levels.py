"""Compression levels at the end of the valid range and beyond, in a migration."""

from dataclasses import replace

import pytest

from fixtures.plugins.stack_messages import RecordStackMessage
from migqual.errors import HostError, MigrationRefused
from migqual.model.guest_spec import GuestSpec
from migqual.model.outcome import JobSample
from migqual.model.plan import Compression, CompressionOptions, Control, Plan
from migqual.model.qemu_parameter import QemuParameter
from migqual.testbed.testbed import Testbed
from suites.support.compression import (
    SLOW_METHOD_DEADLINE_S,
    SUSPEND_TIMEOUT,
    fill_memory,
    has_no_effect,
    list_changed_parameters,
    make_text_load,
    migrate_and_count_bytes,
    query_migration_parameters,
    read_parameter_state,
    require_parameter,
)

# for each method: a level inside the range, and a level beyond the range
VALID_INVALID_LEVELS = {
    Compression.MT: (1, 10),
    Compression.ZLIB: (1, 10),
    Compression.ZSTD: (1, 21),
}
# At these levels zstd compresses a few MiB/s at most, so the test sends only little text.
SLOWEST_LEVELS = (19, 20)
TEXT_MIB = 8


def build_level_plan(method: Compression, level: int) -> Plan:
    """Build a plan that compresses with `method` at `level`.

    For the method mt, the plan sets the level through libvirt. For zlib and zstd, which need
    parallel connections, the plan sets the level through the QEMU monitor. The reason is that an
    old Python binding of libvirt on the controller does not know libvirt's parameter for the level.
    """
    if not method.needs_channels:
        return Plan(
            control=Control.DIRECT,
            compression=method,
            compression_options=CompressionOptions(level=level),
        )
    setting = QemuParameter(f"multifd-{method}-level", level)
    return Plan(control=Control.DIRECT, compression=method, channels=2, qemu_parameters=(setting,))


@pytest.mark.requirement("LM-PAR-04")
@pytest.mark.parametrize(
    "method",
    [
        pytest.param(
            method, marks=[pytest.mark.beyond_requirement] if method.needs_channels else []
        )
        for method in VALID_INVALID_LEVELS
    ],
    ids=str,
)
def test_compression_level_out_of_range_is_refused(
    method: Compression, testbed: Testbed, record_stack_message: RecordStackMessage
) -> None:
    """
    A migration with a compression level out of range is refused and changes no parameter.

    Preconditions: both ends offer the method.
    Expected: QEMU refuses the level, the guest runs on, and the old values are in force.
    The same guest moves with a level inside the range.
    """
    valid_level, invalid_level = VALID_INVALID_LEVELS[method]
    if method is Compression.MT:
        require_parameter(testbed.pair, "compress-level", valid_level)
    guest = testbed.make_guest(GuestSpec())
    parameters_before = read_parameter_state(guest)

    with fill_memory(guest, make_text_load(TEXT_MIB)):
        migrate_and_count_bytes(testbed, guest, build_level_plan(method, valid_level))
        with pytest.raises((MigrationRefused, HostError)) as refusal:
            testbed.migrate(guest, build_level_plan(method, invalid_level))
        record_stack_message("compression-level", refusal.value.message)
        assert guest.host is testbed.destination

    assert list_changed_parameters(guest, parameters_before) == {}


@pytest.mark.requirement("LM-PAR-04")
@pytest.mark.beyond_requirement
@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("level", SLOWEST_LEVELS)
def test_slowest_zstd_levels_compress(level: int, testbed: Testbed) -> None:
    """
    The highest zstd levels take long and lose no data.

    Preconditions: both ends offer zstd on parallel connections. The guest's memory contains 8 MiB
    of text. If the migration still runs after 30 s, libvirt suspends the guest until the end.
    Expected: the level is in force while the guest moves. The migration sends at most 80 % of the
    bytes that a migration without compression sends.
    """
    guest = testbed.make_guest(GuestSpec())
    levels_in_force: set[object] = set()

    def record_level(sample: JobSample) -> None:
        if not levels_in_force and sample.stats.memory_processed_bytes:
            levels_in_force.add(query_migration_parameters(guest)["multifd-zstd-level"])

    with fill_memory(guest, make_text_load(TEXT_MIB)):
        plan = replace(
            build_level_plan(Compression.ZSTD, level),
            timeout=SUSPEND_TIMEOUT,
            deadline_s=SLOW_METHOD_DEADLINE_S,
        )
        compressed_migration = migrate_and_count_bytes(testbed, guest, plan, on_sample=record_level)
        plain_migration = migrate_and_count_bytes(
            testbed, guest, Plan(control=Control.DIRECT, channels=2)
        )

    assert levels_in_force == {level}
    assert not has_no_effect(plain_migration, compressed_migration)
