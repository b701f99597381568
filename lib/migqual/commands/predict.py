"""`migqual predict GUEST DESTINATION`: predict a migration, and suggest settings."""

import argparse
import json
import sys
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from migqual.commands import _common_arguments as common_arguments
from migqual.errors import MigqualError, UsageError
from migqual.hosts.domain import Domain, DomainState
from migqual.model.plan import Plan
from migqual.predict.guest_measurement import GuestMeasurement, measure_dirtying
from migqual.predict.prediction_inputs import (
    DEFAULT_DEVICE_STATE_S,
    DEFAULT_SETUP_S,
    GIGABIT_MIB_S,
    PredictionInputs,
    SourcedValue,
    UserOverrides,
    collect_prediction_inputs,
    list_missing_capabilities,
)
from migqual.predict.setting_choices import MigrationScenario, SettingChoice, list_setting_choices
from migqual.preflight.collect import MigrationRequest


def register(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command `predict`. The handler `run` returns the exit code."""
    parser = subparsers.add_parser(
        "predict",
        description="Measures how fast the guest dirties its memory, and how much memory is in "
        "use. Then predicts convergence, total time and downtime, and suggests settings. The guest "
        "is not migrated. Exit code 0 if the migration converges with the given limits, 1 if it "
        "does not converge, 2 on bad input, 3 if no prediction is possible.",
    )
    common_arguments.add_migration_arguments(parser)
    parser.add_argument(
        "--link",
        type=float,
        metavar="MIB_S",
        help="speed of the migration link in MiB/s (default: the speed that the network interface "
        f"of the source reports. If the interface reports no speed, the default is "
        f"{GIGABIT_MIB_S:g}, which is 1 Gbit/s)",
    )
    parser.add_argument(
        "--bandwidth",
        type=float,
        metavar="MIB_S",
        help="bandwidth limit of the migration in MiB/s (default: the limit that "
        "`virsh migrate-getspeed` prints)",
    )
    parser.add_argument(
        "--downtime",
        type=int,
        metavar="MS",
        help="downtime limit in ms (default: the limit that `virsh migrate-getmaxdowntime` prints)",
    )
    parser.add_argument("--json", action="store_true", help="print the prediction as JSON")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Measure the guest, predict the migration, and print the prediction.

    Returns:
        The exit code: 0 when the migration converges with the requested limits, 1 when the
        migration does not converge, 2 on bad input, 3 when no prediction is possible.
    """
    try:
        _check_arguments(arguments)
        measurement, inputs, suggestions = _predict_migration(arguments)
    except MigqualError as error:
        print(f"migqual predict: {error}", file=sys.stderr)
        return 2 if isinstance(error, UsageError) else 3
    print(
        render_prediction_json(measurement, inputs, suggestions)
        if arguments.json
        else "\n".join(render_prediction_table(measurement, inputs, suggestions))
    )
    return 0 if _is_converging(suggestions) else 1


def _check_arguments(arguments: argparse.Namespace) -> None:
    for name in ("link", "bandwidth", "downtime"):
        value = getattr(arguments, name)
        if value is not None and not 0 < value < float("inf"):
            raise UsageError(
                f"--{name} {value:g} is out of range", remedy="give a number greater than 0"
            )


def _predict_migration(
    arguments: argparse.Namespace,
) -> tuple[GuestMeasurement, PredictionInputs, list[SettingChoice]]:
    overrides = UserOverrides(arguments.link, arguments.bandwidth, arguments.downtime)
    with common_arguments.open_migration_request(arguments, Plan()) as (request, probe_context):
        domain = _find_running_domain(request)
        inputs = collect_prediction_inputs(overrides, request.source, request.destination, domain)
        measurement = measure_dirtying(request.source, domain, probe_context)
        scenario = MigrationScenario(
            measurement.memory_to_send_mib,
            measurement.dirty_model,
            inputs.transfer_model,
            inputs.limits,
        )
        converges = scenario.simulate().converges
        missing_capabilities = (
            {} if converges else list_missing_capabilities(request.source, request.destination)
        )
    return measurement, inputs, list(list_setting_choices(scenario, missing_capabilities))


def _find_running_domain(request: MigrationRequest) -> Domain:
    domain = request.source.libvirt.find_domain(request.guest)
    if domain is None:
        raise UsageError(
            f"there is no guest {request.guest!r} on {request.source.name}",
            remedy=f"name a domain that `virsh list --all` shows on {request.source.name}",
        )
    if domain.query_state() is not DomainState.RUNNING:
        raise UsageError(
            f"guest {request.guest} does not run on {request.source.name}: its state is "
            f"{domain.query_state()}",
            remedy="start or resume the guest",
        )
    return domain


def _is_converging(suggestions: list[SettingChoice]) -> bool:
    return suggestions[0].prediction is not None and suggestions[0].prediction.converges


def render_prediction_json(
    measurement: GuestMeasurement, inputs: PredictionInputs, suggestions: list[SettingChoice]
) -> str:
    """Render the measurement, the inputs and the suggested settings as JSON."""
    document: dict[str, Any] = {
        "memory_mib": round(measurement.memory_to_send_mib, 1),
        "guest_mib": round(measurement.total_mib, 1),
        "memory_counted": measurement.pages_counted,
        "mode": measurement.mode,
        "dirtied_mib_by_seconds": {
            f"{s:g}": round(mib, 1) for s, mib in measurement.dirtied_mib_by_seconds.items()
        },
        "assumed": {
            "setup_s": DEFAULT_SETUP_S,
            "devices_s": DEFAULT_DEVICE_STATE_S,
            **asdict(inputs),
        },
        "converges": _is_converging(suggestions),
        "choices": [asdict(suggestion) for suggestion in suggestions],
    }
    return json.dumps(document, indent=2)


def render_prediction_table(
    measurement: GuestMeasurement, inputs: PredictionInputs, suggestions: list[SettingChoice]
) -> Iterator[str]:
    """Yield the lines of a table: the measurement, the inputs, and each suggested setting."""
    memory_note = (
        "without zero pages"
        if measurement.pages_counted
        else "all memory, because the zero pages could not be counted"
    )
    yield (
        f"memory to send   {measurement.memory_to_send_mib:.0f} of {measurement.total_mib:.0f} MiB "
        f"({memory_note})"
    )
    dirty_windows = ", ".join(
        f"{mib:.0f} MiB in {s:g} s" for s, mib in sorted(measurement.dirtied_mib_by_seconds.items())
    )
    yield f"dirtied          {dirty_windows} ({measurement.mode})"
    yield _format_value("link", inputs.link_mib_s, "MiB/s")
    yield _format_value("bandwidth", inputs.bandwidth_mib_s, "MiB/s")
    yield _format_value("downtime", inputs.downtime_ms, "ms")
    yield f"{'setting':15}{'converges':11}{'time':>9}{'downtime':>11}  option"
    for suggestion in suggestions:
        yield _format_suggestion(suggestion).rstrip()
    yield (
        f"assumed: {DEFAULT_SETUP_S:g} s before the first byte of memory is sent, and "
        f"{DEFAULT_DEVICE_STATE_S * 1000:.0f} ms of downtime for the device state"
    )


def _format_value(name: str, sourced_value: SourcedValue, unit: str) -> str:
    value = "no limit" if sourced_value.value is None else f"{sourced_value.value:.0f} {unit}"
    return f"{name:17}{value} ({sourced_value.origin})"


def _format_suggestion(suggestion: SettingChoice) -> str:
    prediction = suggestion.prediction
    if prediction is None:
        return f"{suggestion.setting:15}{'-':11}{'-':>9}{'-':>11}  {suggestion.option}"
    if not prediction.converges:
        return f"{suggestion.setting:15}{'no':11}{'-':>9}{'-':>11}  {suggestion.option}"
    times = f"{prediction.total_s:7.1f} s{prediction.downtime_s * 1000:8.0f} ms"
    return f"{suggestion.setting:15}{'yes':11}{times}  {suggestion.option}"
