"""How long a guest takes from its definition to the first answer of its agent."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from migqual.bench import rig
from migqual.bench.rig import Rig
from migqual.deadline import Deadline
from migqual.errors import UsageError
from migqual.model.guest import GuestSpec
from migqual.model.inventory import Inventory

READY_SECONDS = 60.0
PING = '{"execute":"guest-ping"}'


@dataclass(frozen=True)
class Ready:
    """Seconds from define to the agent's first answer: by migqual, and by virsh."""

    bare: tuple[float, ...]
    ours: tuple[float, ...]


def measure(
    inventory: Inventory, *, rounds: int, memory_mib: int, say: Callable[[str], None]
) -> Ready:
    """Boot a guest by migqual and by virsh in turn, `rounds` times each, one at a time."""
    bare: list[float] = []
    ours: list[float] = []
    spec = GuestSpec(memory_mib=memory_mib)
    with rig.rig(inventory) as found:
        _ours(found, spec)  # copies kernel and initramfs to the host
        for number in range(rounds):
            ours.append(_ours(found, spec))
            bare.append(_virsh(found, spec))
            say(f"{number + 1:3}  virsh {bare[-1]:.3f} s  migqual {ours[-1]:.3f} s")
    return Ready(tuple(bare), tuple(ours))


def _ours(found: Rig, spec: GuestSpec) -> float:
    began = time.monotonic()
    guest = found.provision.define(spec, found.source)
    try:
        guest.wait_ready(Deadline(READY_SECONDS))
        return time.monotonic() - began
    finally:
        found.provision.remove(guest)


def _virsh(found: Rig, spec: GuestSpec) -> float:
    """The same by hand: define, start, ask the agent until it answers."""
    guest = found.provision.define(spec, found.source)  # the journal names it from here on
    try:
        virsh = ("virsh", "--quiet", "-c", found.source.libvirt.uri)
        with TemporaryDirectory() as folder:
            file = Path(folder) / "guest.xml"
            file.write_text(guest.domain.xml())
            guest.domain.destroy()
            found.source.libvirt.define(file.read_text()).undefine()
            began = time.monotonic()
            rig.bare([*virsh, "define", str(file)])
            rig.bare([*virsh, "start", guest.name])
            ping = [*virsh, "qemu-agent-command", guest.name, "--timeout", "1", PING]
            Deadline(READY_SECONDS).wait_for("the guest agent", lambda: _works(ping))
            return time.monotonic() - began
    finally:
        found.provision.remove(guest)


def _works(words: Sequence[str]) -> bool:
    try:
        rig.bare(words)
    except UsageError:
        return False
    return True


def lines(found: Ready) -> list[str]:
    """What `migqual bench ready` prints; the last line is the ratio."""
    rows = [("virsh define, start", found.bare), ("migqual", found.ours)]
    return [*rig.table(rows), f"ratio: {rig.ratio(found.ours, found.bare):.2f}"]
