"""`migqual predict`: what it prints, and what it refuses."""

import json
from dataclasses import replace

import pytest

from migqual.cli import main
from migqual.commands.predict import as_json, as_table
from migqual.predict.advice import Case, Choice, choices
from migqual.predict.assumed import Assumed, Figure, told_by_interface
from migqual.predict.look import Seen

pytestmark = pytest.mark.selftest

SEEN = Seen(
    memory_mib=200.0,
    all_mib=256.0,
    counted=True,
    windows={1.0: 48.0, 2.0: 96.0, 5.0: 96.0},
    mode="page-sampling",
)


TAKEN = Assumed(
    link_mib_s=told_by_interface("a1's mig", 2857),
    bandwidth_mib_s=Figure(32, "virsh migrate-getspeed"),
    downtime_ms=Figure(300, "--downtime"),
)


def found() -> list[Choice]:
    return list(choices(Case(SEEN.memory_mib, SEEN.load, TAKEN.carrier, TAKEN.wanted), {}))


def test_table_says_what_helps() -> None:
    lines = list(as_table(SEEN, TAKEN, found()))

    rows = {line.split()[0]: line.split()[1] for line in lines[6:-1]}
    assert "200 of 256 MiB" in lines[0]
    assert "page-sampling" in lines[1]
    assert rows["as"] == "asked"
    assert {rows[name] for name in ("downtime", "bandwidth", "auto-converge", "post-copy")} == {
        "yes"
    }


def test_table_says_what_was_assumed() -> None:
    lines = list(as_table(SEEN, TAKEN, found()))

    assert lines[2].split(None, 1) == [
        "link",
        "320 MiB/s (at most: a1's mig has 2857 Mbit/s)",
    ]
    assert lines[3].split(None, 1) == ["bandwidth", "32 MiB/s (virsh migrate-getspeed)"]
    assert lines[4].split(None, 1) == ["downtime", "300 ms (--downtime)"]


def test_json_holds_the_same() -> None:
    data = json.loads(as_json(SEEN, TAKEN, found()))

    assert data["converges"] is False
    assert data["dirtied_mib_by_seconds"] == {"1": 48.0, "2": 96.0, "5": 96.0}
    assert data["choices"][0]["setting"] == "as asked"
    assert data["assumed"]["bandwidth_mib_s"] == {"value": 32, "origin": "virsh migrate-getspeed"}
    assert data["assumed"]["link_mib_s"]["value"] == pytest.approx(320, abs=1)


def test_interface_without_a_speed_is_taken_for_a_gigabit() -> None:
    """And it is said."""
    figure = told_by_interface("a1's mig", None)

    assert figure.value == told_by_interface("a1's eth0", 1000).value == 112
    assert "a gigabit" in figure.origin


def test_no_limit_in_force_leaves_the_link() -> None:
    free = replace(TAKEN, bandwidth_mib_s=Figure(None, "virsh migrate-getspeed"))

    assert free.carrier.bandwidth_mib_s == free.carrier.resting_mib_s == free.link_mib_s.value
    assert "no limit" in list(as_table(SEEN, free, found()))[3]


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
