"""Query features of a host's QEMU in a separate QEMU process, which runs no guest."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from migqual.errors import HostError
from migqual.hosts.host import Host
from migqual.model import migration_features
from migqual.model.migration_features import MigrationFeatures
from migqual.model.qemu_parameter import ParameterValue

QUERY_COMMANDS = (
    "query-version",
    "query-qmp-schema",
    "query-migrate-capabilities",
    "query-migrate-parameters",
)
# no machine, no devices, no configuration of the host: libvirt probes QEMU in the same manner
_NO_GUEST_OPTIONS = (
    "-machine",
    "none",
    "-nodefaults",
    "-no-user-config",
    "-display",
    "none",
    "-qmp",
    "stdio",
)

_NEGOTIATE_REQUEST, _QUIT_REQUEST = {"execute": "qmp_capabilities"}, {"execute": "quit"}
_TIMEOUT_COMMAND = ("timeout", "30")  # ends QEMU after 30 s, even if QEMU has not answered


@dataclass(frozen=True)
class ParameterTrial:
    """The result of an attempt to set a migration parameter of QEMU.

    Attributes:
        value: The requested value.
        refusal: QEMU's error message; empty when QEMU accepts the value.
        effective_value: The value of the parameter afterwards; None for an unknown parameter.
    """

    value: ParameterValue
    refusal: str
    effective_value: ParameterValue | None


def query_migration_features(host: Host) -> MigrationFeatures:
    """Query the migration features of the host's QEMU; running guests are not involved."""
    return migration_features.parse_migration_features(host.name, run_query_commands(host))


def run_query_commands(host: Host) -> dict[str, Any]:
    """Run the QMP commands in `QUERY_COMMANDS` in a new QEMU process on the host.

    Returns:
        The `return` value of each reply, by command name.

    Raises:
        HostError: QEMU does not answer a command, or answers with an error.
    """
    replies = _send_requests(host, [{"execute": name, "id": name} for name in QUERY_COMMANDS])
    unanswered_commands = [name for name in QUERY_COMMANDS if "return" not in replies.get(name, {})]
    if unanswered_commands:
        raise HostError(
            host.name,
            f"{host.names.emulator} did not answer the QMP commands "
            f"{', '.join(unanswered_commands)}; the replies: {replies}",
            remedy=f"run {host.names.emulator} by hand on {host.name}, and read the error message",
        )
    return {name: replies[name]["return"] for name in QUERY_COMMANDS}


def find_parameter_refusal(host: Host, name: str, value: ParameterValue) -> str:
    """Check whether the host's QEMU refuses a value for a migration parameter.

    Returns:
        The host name and QEMU's error message; empty when QEMU accepts the value.
    """
    (trial,) = try_parameter_values(host, name, [value])
    return f"{host.name}: {trial.refusal}" if trial.refusal else ""


def try_parameter_values(
    host: Host, name: str, values: Sequence[ParameterValue]
) -> list[ParameterTrial]:
    """Set a migration parameter of QEMU to each value, and read the effective value back.

    Returns:
        A result for each value, in the order of `values`.

    Raises:
        HostError: QEMU does not answer a request.
    """
    requests: list[dict[str, Any]] = []
    for index, value in enumerate(values):
        set_request = {"execute": "migrate-set-parameters", "arguments": {name: value}}
        requests += [
            set_request | {"id": f"set {index}"},
            {"execute": QUERY_COMMANDS[-1], "id": f"get {index}"},
        ]
    replies = _send_requests(host, requests)
    if len(replies) < len(requests):
        raise HostError(
            host.name,
            f"{host.names.emulator} answered only {len(replies)} of {len(requests)} QMP "
            f"requests; the replies: {replies}",
            remedy=f"run {host.names.emulator} by hand on {host.name}, and read the error message",
        )
    return [
        ParameterTrial(
            value,
            replies[f"set {at}"].get("error", {}).get("desc", ""),
            replies[f"get {at}"]["return"].get(name),
        )
        for at, value in enumerate(values)
    ]


def _send_requests(host: Host, requests: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Send QMP requests to a new QEMU process, and return the replies by request id.

    The function sends `quit` only after the last reply, because `quit` ends QEMU at once and
    replies can be lost.
    """
    replies: dict[str, dict[str, Any]] = {}
    with host.shell.start(*_TIMEOUT_COMMAND, host.names.emulator, *_NO_GUEST_OPTIONS) as process:
        for request in (_NEGOTIATE_REQUEST, *requests):
            process.send_line(json.dumps(request))
        for line in process:
            reply = json.loads(line) if line.startswith("{") else {}
            if "id" in reply:
                replies[str(reply["id"])] = reply
            if len(replies) == len(requests):
                break
        process.send_line(json.dumps(_QUIT_REQUEST))
    return replies
