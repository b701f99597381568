"""Commands to the payload of a guest, over a virtio-serial port that libvirt opens as a stream.

Follows virDomainOpenChannel and libvirt's streams: https://libvirt.org/html/libvirt-libvirt-stream.html
"""

import json
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from secrets import token_hex
from typing import Any

import libvirt

from migqual.deadline import Deadline
from migqual.errors import GuestError, TimedOut
from migqual.hosts.placement import PAYLOAD_PORT

_CHUNK = 65536
_WOULD_BLOCK = -2
_RETRY_SECONDS = 0.01
_EVENTS = (
    libvirt.VIR_STREAM_EVENT_READABLE
    | libvirt.VIR_STREAM_EVENT_ERROR
    | libvirt.VIR_STREAM_EVENT_HANGUP
)


class PayloadChannel:
    """The open port of one guest. Each request has an id, so that a late answer to an earlier one
    is told from the answer to this one."""

    def __init__(self, stream: Any, guest: str) -> None:  # noqa: ANN401 - the binding is untyped
        self._stream = stream
        self._guest = guest
        self._readable = threading.Event()
        self._buffer = b""

    def signal_readable(self, *_arguments: object) -> None:
        """Called by libvirt's event loop."""
        self._readable.set()

    def request(self, commands: Sequence[str], deadline: Deadline) -> list[dict[str, Any]]:
        """Send commands and read the answer to each; the last one may be a refusal.

        Raises `TimedOut` when an answer does not come, `GuestError` when the stream ends.
        """
        number = token_hex(4)
        # the line break in front ends whatever an interrupted request left in the guest
        self._send(f"\n{number} {' ; '.join(commands)}\n".encode(), deadline)
        answers: list[dict[str, Any]] = []
        while len(answers) < len(commands) and all(answer["ok"] for answer in answers):
            line = self._read_line(commands[len(answers)], deadline)
            mine, _, text = line.partition(" ")
            if mine == number:
                answers.append(self._parse(text))
        return answers

    def _parse(self, text: str) -> dict[str, Any]:
        try:
            answer: dict[str, Any] = json.loads(text)
        except ValueError as error:
            raise GuestError(f"{self._guest}: not an answer: {text[:200]!r}") from error
        return answer

    def _send(self, data: bytes, deadline: Deadline) -> None:
        while data:
            sent = self._stream.send(data)
            if sent == _WOULD_BLOCK:
                if deadline.passed:
                    raise TimedOut(f"{self._guest}: the channel takes no command")
                deadline.pause(_RETRY_SECONDS)
            else:
                data = data[sent:]

    def _read_line(self, command: str, deadline: Deadline) -> str:
        while b"\n" not in self._buffer:
            self._readable.clear()
            got = self._stream.recv(_CHUNK)
            if got == b"":
                raise GuestError(f"{self._guest}: its channel was closed: {command}")
            if got != _WOULD_BLOCK:
                self._buffer += got
            elif not self._readable.wait(deadline.left) or deadline.passed:
                raise TimedOut(
                    f"{self._guest}: payload {command}: no answer within {deadline.seconds:g} s"
                )
        line, _, self._buffer = self._buffer.partition(b"\n")
        return line.decode(errors="replace")


@contextmanager
def open_channel(domain: Any, guest: str) -> Iterator[PayloadChannel]:  # noqa: ANN401
    """Open the payload's port of a running domain.

    Args:
        domain: the binding's object.
        guest: names the guest and its host in errors.

    Raises `GuestError` with libvirt's words, also for what the block does with the stream.
    """
    try:
        stream = domain.connect().newStream(libvirt.VIR_STREAM_NONBLOCK)
        domain.openChannel(PAYLOAD_PORT, stream, 0)
        channel = PayloadChannel(stream, guest)
        stream.eventAddCallback(_EVENTS, channel.signal_readable, None)
        try:
            yield channel
        finally:
            with suppress(libvirt.libvirtError):
                stream.eventRemoveCallback()
            with suppress(libvirt.libvirtError):
                stream.abort()
    except libvirt.libvirtError as error:
        raise GuestError(f"{guest}: channel {PAYLOAD_PORT}: {error}") from error
