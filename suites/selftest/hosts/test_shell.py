"""Tests of SSH connection errors: the message names the machine and the reason."""

from dataclasses import replace
from pathlib import Path

import pytest

from migqual.errors import ConnectionLost
from migqual.hosts.shell import Shell
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


def test_message_of_invalid_known_hosts_file(host_entry: HostEntry) -> None:
    host_entry.known_hosts.write_text("127.0.0.2 ssh-ed25519 no*key\n")

    assert f"invalid host key in {host_entry.known_hosts}" in get_connection_error(host_entry)
