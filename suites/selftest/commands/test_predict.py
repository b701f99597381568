"""Output and errors of the command `migqual predict`."""

import json
from dataclasses import replace

import pytest

from migqual.cli import main
from migqual.commands.predict import render_prediction_json, render_prediction_table
from migqual.predict.guest_measurement import GuestMeasurement
from migqual.predict.prediction_inputs import PredictionInputs, SourcedValue, estimate_link_speed
from migqual.predict.setting_choices import MigrationScenario, SettingChoice, list_setting_choices

pytestmark = pytest.mark.selftest

MEASUREMENT = GuestMeasurement(
    memory_to_send_mib=200.0,
    total_mib=256.0,
    pages_counted=True,
    dirtied_mib_by_seconds={1.0: 48.0, 2.0: 96.0, 5.0: 96.0},
    mode="page-sampling",
)


INPUTS = PredictionInputs(
    link_mib_s=estimate_link_speed("a1's mig", 2857),
    bandwidth_mib_s=SourcedValue(32, "virsh migrate-getspeed"),
    downtime_ms=SourcedValue(300, "--downtime"),
)


def build_setting_choices() -> list[SettingChoice]:
    return list(
        list_setting_choices(
            MigrationScenario(
                MEASUREMENT.memory_to_send_mib,
                MEASUREMENT.dirty_model,
                INPUTS.transfer_model,
                INPUTS.limits,
            ),
            {},
        )
    )


def test_prediction_table_lists_helpful_settings() -> None:
    lines = list(render_prediction_table(MEASUREMENT, INPUTS, build_setting_choices()))

    rows = {line.split()[0]: line.split()[1] for line in lines[6:-1]}
    assert "200 of 256 MiB" in lines[0]
    assert "page-sampling" in lines[1]
    assert rows["as"] == "requested"
    assert {rows[name] for name in ("downtime", "bandwidth", "auto-converge", "post-copy")} == {
        "yes"
    }


def test_prediction_table_lists_inputs() -> None:
    lines = list(render_prediction_table(MEASUREMENT, INPUTS, build_setting_choices()))

    assert lines[2].split(None, 1) == [
        "link",
        "320 MiB/s (upper limit, because a1's mig has a speed of 2857 Mbit/s)",
    ]
    assert lines[3].split(None, 1) == ["bandwidth", "32 MiB/s (virsh migrate-getspeed)"]
    assert lines[4].split(None, 1) == ["downtime", "300 ms (--downtime)"]


def test_prediction_json() -> None:
    data = json.loads(render_prediction_json(MEASUREMENT, INPUTS, build_setting_choices()))

    assert data["converges"] is False
    assert data["dirtied_mib_by_seconds"] == {"1": 48.0, "2": 96.0, "5": 96.0}
    assert data["choices"][0]["setting"] == "as requested"
    assert data["assumed"]["bandwidth_mib_s"] == {"value": 32, "origin": "virsh migrate-getspeed"}
    assert data["assumed"]["link_mib_s"]["value"] == pytest.approx(320, abs=1)


def test_interface_without_speed_counts_as_gigabit() -> None:
    """If an interface reports no speed, migqual assumes 1 Gbit/s and states the assumption."""
    link_speed = estimate_link_speed("a1's mig", None)

    assert link_speed.value == estimate_link_speed("a1's eth0", 1000).value == 112
    assert "1 Gbit/s is assumed" in link_speed.origin


def test_no_bandwidth_limit_uses_the_link_speed() -> None:
    unlimited_inputs = replace(INPUTS, bandwidth_mib_s=SourcedValue(None, "virsh migrate-getspeed"))

    assert (
        unlimited_inputs.transfer_model.bandwidth_mib_s
        == unlimited_inputs.transfer_model.paused_bandwidth_mib_s
        == unlimited_inputs.link_mib_s.value
    )
    assert (
        "no limit"
        in list(render_prediction_table(MEASUREMENT, unlimited_inputs, build_setting_choices()))[3]
    )


@pytest.mark.parametrize(
    "options",
    [
        ["--link", "0"],
        ["--downtime", "-1"],
        ["--bandwidth", "nan"],
        ["--inventory", "/nowhere/inventory.yml"],
    ],
)
def test_predict_invalid_input_is_a_single_error(
    options: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["predict", "guest", "b1", *options]) == 2

    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("migqual predict: ")
    assert printed.err.count("migqual") == 1


def test_bench_predict_needs_a_trial() -> None:
    assert main(["bench", "predict", "--trials", "0"]) == 2
