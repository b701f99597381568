"""The migration parameters, listed: by QEMU, and by `migqual params`."""

import json

import pytest

from fixtures.plugins.guests import MakeGuest
from fixtures.plugins.hosts import Pair
from fixtures.plugins.records import add_environment
from migqual import cli
from migqual.errors import HostError
from migqual.hosts import emulator
from migqual.model.documented import DEFAULTS, rows
from migqual.model.guest import GuestSpec
from migqual.model.inventory import Inventory


@pytest.mark.requirement("LM-PAR-09")
def test_documented_parameters_are_there_or_lacking(
    make_guest: MakeGuest, pair: Pair, pytestconfig: pytest.Config
) -> None:
    """
    Every documented parameter has a value, or QEMU says that it does not know it.

    Preconditions: a guest that nobody has set anything of.
    Expected: what `query-migrate-parameters` does not list, QEMU refuses to set as unexpected; what
    it lists has a value, the documented default where there is one. Those that are lacking are in
    the report. A QEMU of the same host that has no guest lists the same parameters.
    """
    guest = make_guest(GuestSpec())

    listed = guest.domain.monitor("query-migrate-parameters")

    assert listed.keys() == emulator.offered(pair.source).parameters.keys()
    found = list(rows(listed))

    lacking = [row.name for row in found if row.lacking]
    add_environment(pytestconfig, f"parameters lacking {pair.id}", {"names": lacking})
    for name in lacking:
        with pytest.raises(HostError, match=r"(?i)unexpected|invalid parameter|not (have|found)"):
            guest.domain.monitor("migrate-set-parameters", **{name: DEFAULTS[name] or 1})
    assert {row.name for row in found if not row.lacking} >= {"downtime-limit", "max-bandwidth"}
    assert [row for row in found if row.differs] == []


@pytest.mark.requirement("LM-PAR-09")
def test_params_command_prints_what_is_in_force(
    make_guest: MakeGuest, inventory: Inventory, capsys: pytest.CaptureFixture[str]
) -> None:
    """
    `migqual params GUEST` prints every parameter in force beside its documented default.

    Preconditions: the bandwidth of the guest was set.
    Expected: the values are those of `query-migrate-parameters`; the bandwidth is told in MiB/s and
    in Mbit/s; what the stack lacks is called lacking.
    """
    guest = make_guest(GuestSpec())
    guest.domain.set_bandwidth(500)
    in_force = guest.domain.monitor("query-migrate-parameters")

    asked = ["params", guest.name, "--inventory", str(inventory.file)]

    assert command(*asked, "--json") == 0
    told = {row["name"]: row["value"] for row in json.loads(capsys.readouterr().out)}
    assert command(*asked) == 0
    table = capsys.readouterr().out

    assert {name: value for name, value in told.items() if value is not None} == in_force
    assert told.keys() >= DEFAULTS.keys()
    assert "(500 MiB/s, 4194 Mbit/s)" in table
    assert table.count("lacking") == len(DEFAULTS.keys() - in_force.keys())


def command(*words: str) -> int:
    """`migqual WORDS`; its exit code."""
    arguments = cli.parser("params").parse_args(words)
    return int(arguments.run(arguments))
