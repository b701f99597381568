"""Every compression method, with each level, kind of data and number of connections."""

import pytest

from fixtures.plugins.guests import RecordFigures
from fixtures.plugins.matrix import select_rows
from migqual.model.guest_spec import GuestSpec
from migqual.model.plan import Control, Plan
from migqual.testbed.testbed import Testbed
from suites.support.compression import (
    CountedMigration,
    fill_memory,
    list_changed_parameters,
    migrate_and_count_bytes,
    read_parameter_state,
    require_parameter,
)
from suites.support.compression_methods import (
    DATA_KINDS,
    METHODS,
    MethodResult,
    build_load,
    find_overhead_violations,
    find_violations,
    list_text_shares_by_level,
    migrate_with_method,
    require_conclusive_counts,
)


@pytest.mark.requirement("LM-PAR-04", "LM-PAR-08")
@pytest.mark.slow
@pytest.mark.timeout(900)  # dozens of migrations with `--matrix full`
@pytest.mark.parametrize(
    "name",
    [
        pytest.param(
            name, marks=[pytest.mark.beyond_requirement] if method.connections != (0,) else []
        )
        for name, method in METHODS.items()
    ],
)
def test_compression_method_reduces_bytes(
    name: str, testbed: Testbed, record_figures: RecordFigures, pytestconfig: pytest.Config
) -> None:
    """
    A compression method reduces the bytes that a migration sends for text, and adds at most 2 % to
    the bytes for zeroes and random data.

    Preconditions: QEMU on both hosts offers the method. The guest migrates with several
    combinations of level, kind of data and number of connections. By default, each two values
    occur together at least once. With `--matrix full`, all combinations occur. For each kind of
    data, the guest also migrates without compression; this is the plain migration. Level 0 is left
    out if QEMU refuses this level. If a migration lasts longer than 30 s, the guest is suspended
    until the migration ends.
    Expected: a migration with text sends at most 80 % of the bytes of the plain migration. The
    same limit holds for text that the guest changes during the migration. A migration with zeroes
    or random data sends at most 102 %. For text, zlib at level 0 sends at most 102 %, and a higher
    level never sends more bytes than a lower level. The test also subtracts the bytes sent for
    zeroes from the bytes sent for random data. This difference is at most 1.1 times the difference
    without compression. QEMU has one sender thread for each connection. Every page is intact, and
    the migration parameters are the same as before. The kernel and the job statistics count the
    bytes. If only the kernel counts too many bytes, the test is inconclusive.
    """
    method = METHODS[name]
    for setting in method.required_settings:
        require_parameter(testbed.pair, setting.name, setting.value)
    guest = testbed.make_guest(GuestSpec())  # no guest load: only changing text dirties memory
    parameters_before = read_parameter_state(guest)
    levels = method.list_supported_levels(testbed.pair)
    values = (levels, DATA_KINDS, method.connections)
    matrix = select_rows(values, pytestconfig.getoption("--matrix"))
    results: list[MethodResult] = []
    plain_migrations: dict[str, CountedMigration] = {}
    plain_plan = Plan(control=Control.DIRECT, channels=matrix[0][2])

    for kind in DATA_KINDS:
        with fill_memory(guest, build_load(kind)):
            plain_migrations[kind] = migrate_and_count_bytes(testbed, guest, plain_plan)
            for row in filter(lambda row: row[1] == kind, matrix):
                results.append(migrate_with_method(testbed, guest, method, row))
                assert list_changed_parameters(guest, parameters_before) == {}

    share_table = {
        str(result): f"{result.compute_link_share(plain_migrations):.1%}" for result in results
    }
    record_figures(f"compression {name}", share_table)
    assert find_violations(results, plain_migrations) == []
    assert find_overhead_violations(results, plain_migrations) == []
    text_shares = list_text_shares_by_level(results, plain_migrations)
    assert text_shares == sorted(text_shares, reverse=True), share_table
    require_conclusive_counts(results, plain_migrations)
