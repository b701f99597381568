"""The list of migration parameters, from QEMU and from `migqual params`."""

import json

import pytest

from fixtures.plugins.guests import RecordFigures
from fixtures.plugins.stack_messages import RecordStackMessage
from migqual import cli
from migqual.errors import HostError
from migqual.hosts import qemu_probe
from migqual.inventory.entities import Inventory
from migqual.model.documented_parameters import DOCUMENTED_DEFAULTS, compare_parameters
from migqual.model.guest_spec import GuestSpec
from migqual.testbed.testbed import Testbed


@pytest.mark.requirement("LM-PAR-09")
def test_documented_parameters_are_listed_or_refused(
    testbed: Testbed, record_figures: RecordFigures, record_stack_message: RecordStackMessage
) -> None:
    """
    Every documented parameter has a value, or QEMU refuses the parameter as unknown.

    Preconditions: a guest without any changed parameter.
    Expected: if `query-migrate-parameters` does not list a parameter, QEMU refuses to set the
    parameter, and the report names the parameter. A listed parameter has a value. If a default is
    documented, the value is this default. A second QEMU process on the source, started without a
    guest, lists the same parameters.
    """
    guest = testbed.make_guest(GuestSpec())

    parameters = guest.domain.run_qmp_command("query-migrate-parameters")

    assert (
        parameters.keys() == qemu_probe.query_migration_features(testbed.source).parameters.keys()
    )
    parameter_rows = list(compare_parameters(parameters))

    missing_names = [row.name for row in parameter_rows if row.is_missing]
    record_figures("missing parameters", {"names": missing_names})
    for name in missing_names:
        with pytest.raises(HostError) as refusal:
            guest.domain.run_qmp_command(
                "migrate-set-parameters", **{name: DOCUMENTED_DEFAULTS[name] or 1}
            )
        record_stack_message("unknown-parameter", refusal.value.message)
    assert {row.name for row in parameter_rows if not row.is_missing} >= {
        "downtime-limit",
        "max-bandwidth",
    }
    assert [row for row in parameter_rows if row.differs_from_default] == []


@pytest.mark.requirement("LM-PAR-09")
def test_params_command_prints_values_in_force(
    testbed: Testbed, inventory: Inventory, capsys: pytest.CaptureFixture[str]
) -> None:
    """
    `migqual params GUEST` prints every parameter in force beside the documented default.

    Preconditions: the bandwidth limit of the guest is set.
    Expected: the values are equal to the reply of `query-migrate-parameters`. The bandwidth is
    printed in MiB/s and in Mbit/s. A parameter missing in QEMU is printed as missing.
    """
    guest = testbed.make_guest(GuestSpec())
    guest.domain.set_bandwidth(500)
    parameters_in_force = guest.domain.run_qmp_command("query-migrate-parameters")

    command_line = ["params", guest.name, "--inventory", str(inventory.file)]

    assert run_params_command(*command_line, "--json") == 0
    printed_values = {row["name"]: row["value"] for row in json.loads(capsys.readouterr().out)}
    assert run_params_command(*command_line) == 0
    table = capsys.readouterr().out

    assert {
        name: value for name, value in printed_values.items() if value is not None
    } == parameters_in_force
    assert printed_values.keys() >= DOCUMENTED_DEFAULTS.keys()
    assert "(500 MiB/s, 4194 Mbit/s)" in table
    assert table.count("missing") == len(DOCUMENTED_DEFAULTS.keys() - parameters_in_force.keys())


def run_params_command(*command_line: str) -> int:
    """Run the `migqual` command line and return the exit code."""
    arguments = cli.build_parser("params").parse_args(command_line)
    return int(arguments.run(arguments))
