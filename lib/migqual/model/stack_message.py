"""Compare messages of libvirt and QEMU with a table of known messages."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

MESSAGES_FILE = "stack_messages.yml"


@dataclass(frozen=True)
class StackMessage:
    """A message of libvirt or QEMU about a refusal or failure that a test provoked.

    Attributes:
        kind: Name of the situation in `fixtures/stack_messages.yml`, e.g. ``no-space``.
        message: The message of libvirt or QEMU, unchanged, or a description of what they did.
        is_known: True if a pattern of the situation matches the message.
    """

    kind: str
    message: str
    is_known: bool


def classify_message(
    patterns: Mapping[str, Sequence[str]], kind: str, message: str
) -> StackMessage:
    """Classify a message as known or unknown, with the patterns of the situation `kind`.

    Args:
        patterns: Regular expressions of the known messages, by name of the situation.
        kind: Name of the situation.
        message: The message of libvirt or QEMU.

    Raises:
        KeyError: `patterns` does not contain the situation.
    """
    is_known = any(
        re.search(pattern, message, re.IGNORECASE | re.DOTALL) for pattern in patterns[kind]
    )
    return StackMessage(kind, message, is_known)
