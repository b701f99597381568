"""A host's QEMU without a guest, asked what it has."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from migqual.errors import HostError
from migqual.hosts.host import Host
from migqual.model import offer
from migqual.model.guest import Architecture
from migqual.model.offer import Offer
from migqual.model.setting import Value

QUESTIONS = (
    "query-version",
    "query-qmp-schema",
    "query-migrate-capabilities",
    "query-migrate-parameters",
)
# no machine, no devices, no configuration of the host's: as libvirt asks it
_ALONE = ("-machine", "none", "-nodefaults", "-no-user-config", "-display", "none", "-qmp", "stdio")

_HELLO, _BYE = {"execute": "qmp_capabilities"}, {"execute": "quit"}
_LIMITED = ("timeout", "30")  # s; then it ends without having answered


@dataclass(frozen=True)
class Trial:
    """A value that was set, QEMU's words against it, and the value in force afterwards (None where
    there is no such parameter)."""

    value: Value
    refusal: str
    in_force: Value | None


def offered(host: Host) -> Offer:
    """What the host's QEMU offers for migrations, by its own account. Touches no guest."""
    return offer.read(host.name, answers(host))


def answers(host: Host) -> dict[str, Any]:
    """What a QEMU of the host answers to each of `QUESTIONS`."""
    found = _ask(host, [{"execute": name, "id": name} for name in QUESTIONS])
    missing = [name for name in QUESTIONS if "return" not in found.get(name, {})]
    if missing:
        raise HostError(host.name, f"{path(host)} did not answer {missing}: {found}")
    return {name: found[name]["return"] for name in QUESTIONS}


def refusal(host: Host, name: str, value: Value) -> str:
    """QEMU's words against setting the migration parameter; empty when it takes it."""
    (trial,) = tried(host, name, [value])
    return f"{host.name}: {trial.refusal}" if trial.refusal else ""


def tried(host: Host, name: str, values: Sequence[Value]) -> list[Trial]:
    """Set the migration parameter to one value after the other, and read it back each time."""
    asked: list[dict[str, Any]] = []
    for at, value in enumerate(values):
        set_ = {"execute": "migrate-set-parameters", "arguments": {name: value}}
        asked += [set_ | {"id": f"set {at}"}, {"execute": QUESTIONS[-1], "id": f"get {at}"}]
    found = _ask(host, asked)
    if len(found) < len(asked):
        raise HostError(host.name, f"{path(host)} did not answer: {found}")
    return [
        Trial(
            value,
            found[f"set {at}"].get("error", {}).get("desc", ""),
            found[f"get {at}"]["return"].get(name),
        )
        for at, value in enumerate(values)
    ]


def _ask(host: Host, messages: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Answers by id. QEMU is told to quit when all are there: it would not wait until its words
    have been read."""
    found: dict[str, dict[str, Any]] = {}
    with host.shell.start(*_LIMITED, path(host), *_ALONE) as process:
        for one in (_HELLO, *messages):
            process.send(json.dumps(one))
        for line in process:
            told = json.loads(line) if line.startswith("{") else {}
            if "id" in told:
                found[str(told["id"])] = told
            if len(found) == len(messages):
                break
        process.send(json.dumps(_BYE))
    return found


def path(host: Host) -> str:
    """The emulator that guests get there: the inventory's, or libvirt's choice."""
    if host.entry.emulator:
        return str(host.entry.emulator)
    arch = Architecture(str(host.libvirt.node()["arch"]))
    found = host.libvirt.domain_capabilities(
        emulator=None, arch=arch.value, machine=arch.machine, virt="qemu"
    )
    emulator = found.findtext("path")
    if not emulator:
        raise HostError(host.name, "libvirt names no emulator")
    return emulator
