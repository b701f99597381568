"""What a guest answered, as its own host's kernel saw it leave the guest's interface.

The witness against which the gap meter is calibrated: between it and the client lie the network and
the meter, and nothing of the guest.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from lxml import etree

from migqual.errors import HostError, InconclusiveError
from migqual.hosts.guest import Guest


@dataclass
class Answers:
    """Times of the echo replies, µs of the host's wall clock; complete once the block has ended."""

    at_us: list[int] = field(default_factory=list)

    def take(self, lines: Iterable[str]) -> None:
        """Read what the program told at its end. Raises `InconclusiveError` where it missed any, or
        its words break off."""
        for line in lines:
            match line.split():
                case ["a", at]:
                    self.at_us.append(int(at))
                case ["end", count, "0"] if int(count) == len(self.at_us):
                    return
                case _:
                    break
        raise InconclusiveError("not every answer of the guest was seen on its host")


@contextmanager
def leaving(guest: Guest, payload: PurePosixPath | str) -> Iterator[Answers]:
    """Note when answers leave the guest's service interface, on its host, while the block runs."""
    answers = Answers()
    host = guest.host
    words = ("answers", "--interface", interface(guest.domain.live_xml(), guest.macs[0]))
    with host.shell.start(payload, *words) as process:
        lines = iter(process)
        said = next(lines, "").strip()
        if said != "ready":
            raise HostError(host.name, f"cannot listen to {guest.name}: {said}")
        yield answers
        process.send("stop")
        answers.take(lines)


def interface(xml: str, mac: str) -> str:
    """Pure: the host's name of the interface with that address. Raises `InconclusiveError`."""
    for one in etree.fromstring(xml).iterfind("devices/interface"):
        address, target = one.find("mac"), one.find("target")
        if address is not None and target is not None and address.get("address") == mac:
            return str(target.get("dev", ""))
    raise InconclusiveError(f"no interface of the guest has the address {mac}")
