"""A host's QEMU without a guest, asked what it has."""

import json
from typing import Any

from migqual.errors import HostError
from migqual.hosts.host import Host
from migqual.model import offer
from migqual.model.guest import Architecture
from migqual.model.offer import Offer

QUESTIONS = (
    "query-version",
    "query-qmp-schema",
    "query-migrate-capabilities",
    "query-migrate-parameters",
)
# no machine, no devices, no configuration of the host's: as libvirt asks it
_ALONE = ("-machine", "none", "-nodefaults", "-no-user-config", "-display", "none", "-qmp", "stdio")
_SECONDS = 30.0


def offered(host: Host) -> Offer:
    """What the host's QEMU offers for migrations, by its own account. Touches no guest."""
    return offer.read(host.name, answers(host))


def answers(host: Host) -> dict[str, Any]:
    """What a QEMU of the host answers to each of `QUESTIONS`."""
    words = [
        json.dumps({"execute": name, "id": name})
        for name in ("qmp_capabilities", *QUESTIONS, "quit")
    ]
    done = host.shell.attempt(
        path(host), *_ALONE, stdin="\n".join([*words, ""]).encode(), seconds=_SECONDS
    )
    found: dict[str, Any] = {}
    for line in done.stdout.splitlines():
        message = json.loads(line)
        if message.get("id") in QUESTIONS and "return" in message:
            found[message["id"]] = message["return"]
    missing = [name for name in QUESTIONS if name not in found]
    if missing:
        raise HostError(host.name, f"{path(host)} did not answer {missing}: {done.stderr[-300:]}")
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
