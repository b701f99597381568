"""verdict.json has the documented form."""

from dataclasses import replace

import pytest

from migqual.model.record import MigrationRecord
from migqual.model.verdict import Verdict
from migqual.report.qualification import build_verdict_json
from suites.selftest.support.verdict_records import (
    FIRST_ID,
    FIRST_REQUIRED,
    SECOND_ID,
    make_run,
    make_test,
)

pytestmark = pytest.mark.selftest


def test_verdict_json_has_the_documented_form() -> None:
    """The JSON has exactly the documented keys, and also lists requirements without a test."""
    migration = MigrationRecord({"channels": 2}, "virsh migrate g", {"gap_max_ms": None})
    record = replace(make_test(Verdict.PASS, FIRST_ID), seconds=1.23456, migrations=(migration,))
    assert build_verdict_json(make_run(FIRST_REQUIRED), [record]) == {
        "format": 1,
        "result": "qualified",
        "exit_code": 0,
        "run": {
            "id": "r1",
            "started": "2026-01-02T03:04:05Z",
            "finished": "2026-01-02T03:05:05Z",
            "profile": "lab",
            "tier": "lab",
            "acceleration": "not observed",
            "version": "1",
        },
        "pairs": [
            {
                "pair": "a1-b1",
                "source": "a1",
                "destination": "b1",
                "qualified": True,
                "result": "qualified",
                "requirements": {
                    FIRST_ID: {
                        "verdict": "pass",
                        "tests": [
                            {"id": "t", "verdict": "pass", "reason": "why pass", "seconds": 1.235}
                        ],
                    },
                    SECOND_ID: {"verdict": "not-run", "tests": []},
                },
            }
        ],
        "migrations": [
            {
                "test": "t",
                "pair": "a1-b1",
                "plan": {"channels": 2},
                "virsh": "virsh migrate g",
                "metrics": {"gap_max_ms": None},
            }
        ],
    }
