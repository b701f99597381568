"""Compression settings needed at both ends, and compression settings without effect."""

from dataclasses import replace

import pytest

from fixtures.plugins.guests import RecordFigures
from migqual.errors import MigrationError, MigrationFailed, MigrationRefused, MigrationTimedOut
from migqual.model.guest_spec import GuestSpec
from migqual.model.plan import Compression, Control, Plan
from migqual.model.qemu_parameter import ParameterEnds, ParameterValue, QemuParameter
from migqual.testbed.testbed import Testbed
from suites.support.compression import (
    DIRTYING_GUEST,
    fill_memory,
    has_no_effect,
    make_text_load,
    migrate_and_count_bytes,
    require_parameter,
)

BASE_PLANS = {
    "compress-method": Plan(control=Control.DIRECT, compression=Compression.MT),
    "multifd-compression": Plan(control=Control.DIRECT, channels=2),
}
# Errors of a migration with different settings at the two ends. A migration with parallel
# connections may also stall, as sometimes with QEMU 7.2: libvirt does not manage the parameter,
# so nothing guarantees a clean error.
EXPECTED_ERRORS: dict[str, tuple[type[MigrationError], ...]] = {
    "compress-method": (MigrationFailed, MigrationRefused),
    "multifd-compression": (MigrationFailed, MigrationRefused, MigrationTimedOut),
}
STALL_DEADLINE_S = 15.0
# Each setting has an effect only with a capability or with parallel connections. The test
# enables neither of them.
INEFFECTIVE_SETTINGS: dict[str, ParameterValue] = {
    "compress-level": 9,
    "compress-method": "zstd",
    "multifd-compression": "zstd",
}


def build_plan(name: str, value: ParameterValue, ends: ParameterEnds) -> Plan:
    base_plan = BASE_PLANS[name]
    setting = QemuParameter(name, value, ends)
    return Plan(
        control=base_plan.control,
        channels=base_plan.channels,
        compression=base_plan.compression,
        qemu_parameters=(setting,),
    )


@pytest.mark.requirement("LM-PAR-08")
@pytest.mark.parametrize(
    "name",
    [
        "compress-method",
        # QEMU 7.2 sometimes crashes with different settings at the two ends
        pytest.param(
            "multifd-compression", marks=[pytest.mark.beyond_requirement, pytest.mark.slow]
        ),
    ],
)
def test_compression_mismatch_fails_cleanly(
    name: str, testbed: Testbed, record_figures: RecordFigures
) -> None:
    """
    A migration with a compression method set only at the source fails cleanly. With the method
    set at both ends, the migration succeeds.

    Preconditions: both QEMUs have the parameter; the test sets the parameter through the QEMU
    monitor. 32 MiB of the guest memory contain text, which is easy to compress.
    Expected: with zstd only at the source, the guest stays at the source and runs on unharmed.
    With zstd at both ends, the guest moves, and the migration sends fewer bytes than without
    compression. The report says how the first migration ended: by an error, or by an abort after
    a stall.
    """
    require_parameter(testbed.pair, name, "zstd")
    guest = testbed.make_guest(DIRTYING_GUEST)

    with fill_memory(guest, make_text_load(32)):
        source_only_plan = replace(
            build_plan(name, "zstd", ParameterEnds.SOURCE), deadline_s=STALL_DEADLINE_S
        )
        with pytest.raises(EXPECTED_ERRORS[name]) as mismatch_error:
            migrate_and_count_bytes(testbed, guest, source_only_plan)
        assert guest.host is testbed.source
        matching_migration = migrate_and_count_bytes(
            testbed, guest, build_plan(name, "zstd", ParameterEnds.BOTH)
        )
        plain_migration = migrate_and_count_bytes(
            testbed, guest, Plan(channels=matching_migration.outcome.plan.channels)
        )

    environment = {
        "ended": type(mismatch_error.value).__name__,
        "message": mismatch_error.value.message,
    }
    record_figures(f"mismatched {name}", environment)
    assert not has_no_effect(plain_migration, matching_migration)


@pytest.mark.requirement("LM-PAR-08")
@pytest.mark.parametrize(
    "name",
    [
        "compress-level",
        "compress-method",
        pytest.param(
            "multifd-compression", marks=[pytest.mark.beyond_requirement, pytest.mark.slow]
        ),
    ],
)
def test_ineffective_compression_setting_is_detected(name: str, testbed: Testbed) -> None:
    """
    The byte count on the link shows that a compression parameter alone compresses no data.

    Preconditions: QEMU accepts the parameter; neither compression nor parallel connections are
    enabled.
    Expected: with the parameter, the link carries more than 80 % of the bytes of a migration
    without the parameter. The other compression tests use the same limit to detect that
    compression has no effect.
    """
    require_parameter(testbed.pair, name, INEFFECTIVE_SETTINGS[name])
    guest = testbed.make_guest(GuestSpec())

    with fill_memory(guest, make_text_load(32)):
        plan = Plan(
            control=Control.DIRECT,
            qemu_parameters=(QemuParameter(name, INEFFECTIVE_SETTINGS[name]),),
        )
        ineffective_migration = migrate_and_count_bytes(testbed, guest, plan)
        plain_migration = migrate_and_count_bytes(testbed, guest, Plan(control=Control.DIRECT))

    assert has_no_effect(plain_migration, ineffective_migration)
