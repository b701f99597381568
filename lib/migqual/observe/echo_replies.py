"""Echo replies of a guest, seen by the host's kernel on the guest's interface.

The gap meter is calibrated against the replies. Between the interface and the client are only
the network and the meter, and no part of the guest.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from migqual.errors import HostError, InconclusiveError
from migqual.hosts.domain_definition import parse_domain_xml
from migqual.hosts.guest import Guest


@dataclass
class EchoReplies:
    """Times of the echo replies, in µs of the host's wall clock.

    The times are complete after the block of `capture_echo_replies`.
    """

    times_us: list[int] = field(default_factory=list)

    def parse_lines(self, lines: Iterable[str]) -> None:
        """Parse the output of the capture program after the end of the capture.

        Args:
            lines: The remaining lines of the program.

        Raises:
            InconclusiveError: The program missed a reply, or the output is incomplete.
        """
        for line in lines:
            match line.split():
                case ["a", time_us]:
                    self.times_us.append(int(time_us))
                case ["end", count, "0"] if int(count) == len(self.times_us):
                    return
                case _:
                    break
        raise InconclusiveError("the capture on the guest's host missed replies or ended early")


@contextmanager
def capture_echo_replies(guest: Guest, payload: PurePosixPath | str) -> Iterator[EchoReplies]:
    """Capture echo replies on the guest's service interface, on the guest's host, in the block.

    Args:
        guest: The running guest.
        payload: Path of migqual-payload on the guest's host.

    Raises:
        HostError: The program cannot listen on the interface.
        InconclusiveError: The program missed a reply.
    """
    replies = EchoReplies()
    host = guest.host
    arguments = (
        "answers",
        "--interface",
        find_host_interface(guest.domain.read_live_xml(), guest.macs[0]),
    )
    with host.shell.start(payload, *arguments) as process:
        first_line = process.read_first_line()
        lines = iter(process)
        if first_line != "ready":
            raise HostError(host.name, f"cannot capture replies of {guest.name}: {first_line}")
        yield replies
        process.send_line("stop")
        replies.parse_lines(lines)


def find_host_interface(xml: str, mac: str) -> str:
    """Find the host's name of the guest interface with a MAC address. No side effects.

    Args:
        xml: The live domain XML of the guest.
        mac: The MAC address.

    Raises:
        InconclusiveError: No interface of the guest has the address.
    """
    for nic in parse_domain_xml(xml).nics:
        if nic.mac == mac and nic.host_device:
            return nic.host_device
    raise InconclusiveError(f"no interface of the guest has the MAC address {mac}")
