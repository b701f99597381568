"""Send commands to the payload, migqual's program in a guest, over a virtio-serial port.

libvirt opens the port as a stream (virDomainOpenChannel):
https://libvirt.org/html/libvirt-libvirt-stream.html
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
from migqual.hosts.domain_template import PAYLOAD_CHANNEL_NAME

_CHUNK_BYTES = 65536
_WOULD_BLOCK = -2
_RETRY_SECONDS = 0.01
_STREAM_EVENTS = (
    libvirt.VIR_STREAM_EVENT_READABLE
    | libvirt.VIR_STREAM_EVENT_ERROR
    | libvirt.VIR_STREAM_EVENT_HANGUP
)


class PayloadChannel:
    """The open virtio-serial port to the payload, migqual's program in a guest.

    A reply has the id of the request. The channel skips a late reply to an earlier request.
    """

    def __init__(self, stream: Any, guest_label: str) -> None:  # noqa: ANN401 - the binding is untyped
        self._stream = stream
        self._guest_label = guest_label
        self._readable = threading.Event()
        self._buffer = b""

    def mark_readable(self, *_arguments: object) -> None:
        """Wake the waiting reader when the stream has data, has an error or has ended.

        libvirt's event loop calls the method.
        """
        self._readable.set()

    def run_commands(self, commands: Sequence[str], deadline: Deadline) -> list[dict[str, Any]]:
        """Send commands to migqual's program in the guest, and read the reply to each command.

        Args:
            commands: Command lines, as `fixtures/guest/commands.c` reads them.
            deadline: Time limit for the whole request.

        Returns:
            The decoded JSON replies. The program stops after the first refused command, so only
            the last reply may be a refusal (`ok` is false).

        Raises:
            TimedOut: The program does not read the request or does not reply before the
                deadline.
            GuestError: The stream ends, or a reply is not JSON.
        """
        request_id = token_hex(4)
        # the first line break ends a partial line that an interrupted request left in the guest
        self._send_bytes(f"\n{request_id} {' ; '.join(commands)}\n".encode(), deadline)
        replies: list[dict[str, Any]] = []
        while len(replies) < len(commands) and all(reply["ok"] for reply in replies):
            line = self._read_line(commands[len(replies)], deadline)
            reply_id, _, reply_text = line.partition(" ")
            if reply_id == request_id:
                replies.append(self._parse_reply(reply_text))
        return replies

    def _parse_reply(self, reply_text: str) -> dict[str, Any]:
        try:
            reply: dict[str, Any] = json.loads(reply_text)
        except ValueError as error:
            raise GuestError(
                f"{self._guest_label}: migqual-payload sent no valid JSON: {reply_text[:200]!r}"
            ) from error
        return reply

    def _send_bytes(self, data: bytes, deadline: Deadline) -> None:
        while data:
            sent_count = self._stream.send(data)
            if sent_count == _WOULD_BLOCK:
                if deadline.is_over:
                    raise TimedOut(
                        f"{self._guest_label}: migqual-payload did not read the command "
                        f"within {deadline.seconds:g} s"
                    )
                deadline.pause(_RETRY_SECONDS)
            else:
                data = data[sent_count:]

    def _read_line(self, command: str, deadline: Deadline) -> str:
        while b"\n" not in self._buffer:
            self._readable.clear()
            chunk = self._stream.recv(_CHUNK_BYTES)
            if chunk == b"":
                raise GuestError(
                    f"{self._guest_label}: migqual-payload command `{command}`: the channel closed"
                )
            if chunk != _WOULD_BLOCK:
                self._buffer += chunk
            elif not self._readable.wait(deadline.seconds_left) or deadline.is_over:
                raise TimedOut(
                    f"{self._guest_label}: migqual-payload command `{command}`: "
                    f"no answer within {deadline.seconds:g} s"
                )
        line, _, self._buffer = self._buffer.partition(b"\n")
        return line.decode(errors="replace")


@contextmanager
def open_payload_channel(raw_domain: Any, guest_label: str) -> Iterator[PayloadChannel]:  # noqa: ANN401
    """Open the virtio-serial port to the payload, migqual's program in a running guest.

    Args:
        raw_domain: Domain object of the libvirt binding.
        guest_label: Names of the guest and the host, for error messages.

    Yields:
        The open channel. The stream is aborted at the end of the block.

    Raises:
        GuestError: libvirt refuses to open the port, or refuses a stream call inside the block.
            The error has libvirt's message.
    """
    try:
        stream = raw_domain.connect().newStream(libvirt.VIR_STREAM_NONBLOCK)
        raw_domain.openChannel(PAYLOAD_CHANNEL_NAME, stream, 0)
        channel = PayloadChannel(stream, guest_label)
        stream.eventAddCallback(_STREAM_EVENTS, channel.mark_readable, None)
        try:
            yield channel
        finally:
            with suppress(libvirt.libvirtError):
                stream.eventRemoveCallback()
            with suppress(libvirt.libvirtError):
                stream.abort()
    except libvirt.libvirtError as error:
        raise GuestError(
            f"{guest_label}: the virtio-serial connection to migqual-payload, migqual's program in "
            f"the guest, failed: {error}"
        ) from error
