"""`migqual predict`: what it prints, and what it refuses."""

import json

import pytest

from migqual.cli import main
from migqual.commands.predict import as_json, as_table
from migqual.predict.advice import Case, Choice, choices
from migqual.predict.look import Seen
from migqual.predict.precopy import Carrier, Wanted

pytestmark = pytest.mark.selftest

SEEN = Seen(
    memory_mib=200.0,
    all_mib=256.0,
    counted=True,
    windows={1.0: 48.0, 2.0: 96.0, 5.0: 96.0},
    mode="page-sampling",
)


def found() -> list[Choice]:
    carrier = Carrier(32.0, 320.0, setup_s=0.5, devices_s=0.03)
    return list(choices(Case(SEEN.memory_mib, SEEN.load, carrier, Wanted(0.3, 3600.0))))


def test_table_says_what_helps() -> None:
    lines = list(as_table(SEEN, found()))

    rows = {line.split()[0]: line.split()[1] for line in lines[3:-1]}
    assert "200 of 256 MiB" in lines[0]
    assert "page-sampling" in lines[1]
    assert rows["as"] == "asked"
    assert {rows[name] for name in ("downtime", "bandwidth", "auto-converge", "post-copy")} == {
        "yes"
    }


def test_json_holds_the_same() -> None:
    data = json.loads(as_json(SEEN, found()))

    assert data["converges"] is False
    assert data["dirtied_mib_by_seconds"] == {"1": 48.0, "2": 96.0, "5": 96.0}
    assert data["choices"][0]["setting"] == "as asked"


@pytest.mark.parametrize(
    "words",
    [
        ["--link", "0"],
        ["--downtime", "-1"],
        ["--bandwidth", "nan"],
        ["--inventory", "/nowhere/inventory.yml"],
    ],
)
def test_bad_input_is_one_error(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["predict", "guest", "b1", *words]) == 2

    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("migqual predict: ")
    assert printed.err.count("migqual") == 1


def test_bench_wants_a_cell() -> None:
    assert main(["bench", "predict", "--cells", "0"]) == 2
