"""The power command of the inventory: placeholders, failures, and hosts without a command."""

import traceback
from pathlib import Path

import pytest

from migqual.errors import HostError, WithheldError
from migqual.hosts import host_power
from migqual.hosts.host_power import PowerAction, switch_power
from migqual.inventory.entities import HostEntry

pytestmark = pytest.mark.selftest
PLANTED_SECRET = "planted-7f3a9c"  # noqa: S105 - planted, so that the test finds it


def build_entry(power_command: str) -> HostEntry:
    return HostEntry("b1", "192.0.2.2", Path("/none"), power_command=power_command)


def test_command_gets_action_name_and_address(tmp_path: Path) -> None:
    log = tmp_path / "log"
    entry = build_entry(f"sh -c 'echo \"$@\" >>{log}' sh {{action}} bmc-{{name}} {{address}}")

    switch_power(entry, PowerAction.OFF)
    switch_power(entry, PowerAction.ON)

    assert log.read_text() == "off bmc-b1 192.0.2.2\non bmc-b1 192.0.2.2\n"


def test_failed_command_is_reported_with_its_output() -> None:
    entry = build_entry("sh -c 'echo wrong password >&2; exit 3' {action}")

    with pytest.raises(HostError, match="exit status 3: wrong password"):
        switch_power(entry, PowerAction.OFF)
    with pytest.raises(HostError, match="No such file"):
        switch_power(build_entry("/nonexistent/ipmitool {action}"), PowerAction.OFF)


@pytest.mark.parametrize("script", ["exit 3", "sleep 9"], ids=["error", "no end"])
def test_arguments_of_the_command_are_in_no_message(
    script: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error message of a failed power command does not contain the password in the command.

    The remedy and the traceback do not contain the password either.
    """
    monkeypatch.setattr(host_power, "COMMAND_SECONDS", 0.2)
    entry = build_entry(f"sh -c '{script}' sh -P {PLANTED_SECRET} {{action}}")

    with pytest.raises(HostError) as caught:
        switch_power(entry, PowerAction.OFF)

    texts = [*traceback.format_exception(caught.value), caught.value.remedy]
    assert [text for text in texts if PLANTED_SECRET in text] == []


def test_host_without_a_command_is_not_switched_off() -> None:
    with pytest.raises(WithheldError, match="no command that switches b1 off and on") as caught:
        switch_power(build_entry(""), PowerAction.OFF)

    assert "migqual_power_command" in caught.value.remedy
