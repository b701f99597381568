"""Capture when the ICMP echo replies of a guest leave the guest's network interface.

The capture runs on the guest's host. The calibration of the gap meter, which receives the same
replies on the client, uses the times as a reference.
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
    """The times of a guest's ICMP echo replies, in µs of the host's wall clock.

    The times are complete at the end of the `with` block of `capture_echo_replies`.
    """

    times_us: list[int] = field(default_factory=list)

    def parse_lines(self, lines: Iterable[str]) -> None:
        """Parse the output of the capture program, and append the reply times to `times_us`.

        A reply time is the time at which an ICMP echo reply of the guest was captured.

        Args:
            lines: The output lines after the line `ready`.

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
        raise InconclusiveError(
            "the capture of echo replies on the guest's host missed replies, or ended too early"
        )


@contextmanager
def capture_echo_replies(guest: Guest, payload: PurePosixPath | str) -> Iterator[EchoReplies]:
    """Capture the ICMP echo replies of the guest on the guest's host while the `with` block runs.

    Args:
        guest: The running guest.
        payload: Path of migqual-payload on the guest's host.

    Raises:
        HostError: The capture program cannot listen on the guest's network interface.
        InconclusiveError: The capture program missed a reply.
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
            raise HostError(host.name, f"cannot capture echo replies of {guest.name}: {first_line}")
        yield replies
        process.send_line("stop")
        replies.parse_lines(lines)


def find_host_interface(xml: str, mac: str) -> str:
    """Find the host's name for a network interface of the guest, for example `vnet0`.

    Args:
        xml: The live domain XML of the guest.
        mac: The MAC address of the interface.

    Raises:
        InconclusiveError: No interface of the guest has the address.
    """
    for nic in parse_domain_xml(xml).nics:
        if nic.mac == mac and nic.host_device:
            return nic.host_device
    raise InconclusiveError(f"no interface of the guest has the MAC address {mac}")
