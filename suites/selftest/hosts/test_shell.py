"""Tests of SSH connection errors: the message names the machine and the reason."""

import errno
from dataclasses import replace
from pathlib import Path

import pytest
from paramiko.ssh_exception import NoValidConnectionsError

from migqual.errors import ConnectionLost
from migqual.hosts.shell import Shell
from migqual.hosts.ssh_login import describe_ssh_error
from migqual.inventory.entities import HostEntry

pytestmark = pytest.mark.selftest


@pytest.fixture
def host_entry(tmp_path: Path) -> HostEntry:
    """Return a host entry whose port has no listener."""
    (tmp_path / "known_hosts").touch()
    return HostEntry(name="h1", address="127.0.0.2", port=1, known_hosts=tmp_path / "known_hosts")


def get_connection_error(host_entry: HostEntry) -> str:
    with pytest.raises(ConnectionLost) as caught:
        Shell(host_entry).open()
    assert caught.value.remedy
    return caught.value.message


def test_message_of_refused_connection(host_entry: HostEntry) -> None:
    assert get_connection_error(host_entry) == "h1: SSH to root@127.0.0.2:1: connection refused"


def test_message_names_failed_jump_host(host_entry: HostEntry) -> None:
    """The message names the jump host: the host behind the jump host is not the cause."""
    entry_with_jump_host = replace(
        host_entry, address="192.0.2.1", port=22, jump_hosts=("me@127.0.0.3:1",)
    )

    assert (
        get_connection_error(entry_with_jump_host)
        == "jump host 127.0.0.3: SSH to me@127.0.0.3:1: connection refused"
    )


def test_message_of_ipv6_address_has_brackets(host_entry: HostEntry) -> None:
    """A message of an SSH connection error has brackets around an IPv6 address before a port.

    This is so for the address of a host and of a jump host, for example `root@[::1]:22`.
    """
    entry = replace(host_entry, address="::1")
    entry_with_jump_host = replace(entry, jump_hosts=("me@[::1]:2",))

    assert get_connection_error(entry).startswith("h1: SSH to root@[::1]:1: ")
    assert get_connection_error(entry_with_jump_host).startswith(
        "jump host ::1: SSH to me@[::1]:2: "
    )


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("h1", "127.0.0.2:1: connection refused, [fd77::2]:1: connection timed out"),
        ("fd77::2", "127.0.0.2:1: connection refused, connection timed out"),
    ],
)
def test_message_names_the_tried_addresses(
    host_entry: HostEntry, address: str, message: str
) -> None:
    """The error message states for each tried address why the connection failed.

    Each reason follows its address, for example `127.0.0.2:1: connection refused`. Only the host's
    address in the inventory is not repeated before its reason, because the message already begins
    with this address.
    """
    error = NoValidConnectionsError(
        {
            ("127.0.0.2", 1): ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused"),
            ("fd77::2", 1, 0, 0): TimeoutError(errno.ETIMEDOUT, "Connection timed out"),
        }
    )

    assert describe_ssh_error(replace(host_entry, address=address), error) == message


def test_message_of_invalid_known_hosts_file(host_entry: HostEntry) -> None:
    host_entry.known_hosts.write_text("127.0.0.2 ssh-ed25519 no*key\n")

    assert f"invalid host key in {host_entry.known_hosts}" in get_connection_error(host_entry)
