"""Messages of libvirt and QEMU, compared with the table of known messages."""

import re

import pytest

from fixtures.plugins.stack_messages import load_known_messages
from migqual.model.stack_message import classify_message


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("xbzrle-cache-size", "it should be bigger than target page size and a power of 2"),
        ("xbzrle-cache-size", "Parameter expects a power of two no less than page size"),
        ("certificate-missing", "operation failed: MISSING SERVER CERT file"),
        ("cpu-feature-missing", "guest CPU doesn't match:\n missing features: aes"),
    ],
)
def test_known_messages(kind: str, message: str) -> None:
    """
    A message of libvirt or QEMU is known if the message fits a pattern in the table.

    Preconditions: the table has patterns for the situation `kind`, for example
    `certificate-missing`.
    Expected: upper case, lower case and line ends make no difference. The message `another reason`
    is not known.
    """
    assert classify_message(load_known_messages(), kind, message).is_known
    assert not classify_message(load_known_messages(), kind, "another reason").is_known


def test_every_pattern_is_a_valid_regular_expression() -> None:
    """
    Each situation in `fixtures/stack_messages.yml` has at least one pattern for messages.

    Expected: each pattern is a valid regular expression. No pattern fits the word `arbitrary`,
    because a pattern for every message would be useless.
    """
    for kind, patterns in load_known_messages().items():
        assert patterns, kind
        assert not [pattern for pattern in patterns if re.search(pattern, "arbitrary")], kind
