"""The tables of faults and commands in the report, from records."""

from dataclasses import replace

import pytest

from migqual.model.record import (
    CommandAnswer,
    CommandRecord,
    FaultRecord,
    MigrationRecord,
    PairName,
    TestRecord,
)
from migqual.model.verdict import Verdict
from migqual.report.fault_tables import CommandRow, FaultRow, list_command_rows, list_fault_rows

pytestmark = pytest.mark.selftest

LOCK_MESSAGE = "cannot acquire state change lock"
REFUSED_SAVE = CommandRecord("save", "source", CommandAnswer.REFUSED, LOCK_MESSAGE)
RECORD = TestRecord(
    run="r",
    id="suites/faults/test_x.py::test_y",
    title="",
    doc="",
    chapter="",
    requirements=("LM-RES-05",),
    pair=PairName("a1", "b1"),
    verdict=Verdict.PASS,
    migrations=(
        MigrationRecord(
            plan={"bandwidth_mib_s": 1, "deadline_s": 150.0, "channels": 2},
            virsh="",
            metrics={"wall_s": 0.7},
            status="failed",
            error="closed the monitor",
            faults=(FaultRecord("QEMU killed", "first-iteration"),),
        ),
        MigrationRecord(plan={}, virsh=""),
    ),
    commands=(REFUSED_SAVE,),
)


def test_each_fault_is_a_row_without_the_limits_of_the_hold() -> None:
    """The table of faults has a row for each fault that a test injected into a migration.

    A row has the fault, the phase, the pair, the plan, and the status and error with which the
    migration ended. A test sets some limits, for example a low bandwidth, only to keep the
    migration in a phase until the fault. The plan in a row omits these limits. A migration without
    a fault has no row.
    """
    row = FaultRow(
        "QEMU killed", "first-iteration", "a1-b1", "channels 2", "failed closed the monitor", 0.7
    )

    assert list_fault_rows([RECORD]) == [row]


def test_equal_answers_of_pairs_are_together() -> None:
    """
    In the table of commands, pairs with the same answer are listed together.

    Preconditions: two pairs refuse the command at the source in the same words. A third pair
    accepts the command at the source, and does not answer at the destination.
    Expected: the command has a row for the source and a row for the destination. The row for the
    source contains the refusal once, with the names of both pairs. The acceptance follows, with
    the name of the third pair.
    """
    accepted = replace(REFUSED_SAVE, answer=CommandAnswer.ACCEPTED, message="Domain saved")
    missing = CommandRecord("save", "destination", CommandAnswer.MISSING)
    records = [
        RECORD,
        replace(RECORD, pair=PairName("a2", "b2")),
        replace(RECORD, pair=PairName("a3", "b3"), commands=(accepted, missing)),
    ]

    assert list_command_rows(records) == [
        CommandRow("save", "destination", ("no answer (a3-b3)",)),
        CommandRow(
            "save", "source", (f"refused: {LOCK_MESSAGE} (a1-b1, a2-b2)", "accepted (a3-b3)")
        ),
    ]
