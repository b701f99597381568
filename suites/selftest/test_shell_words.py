"""What is said of a host that nobody can log in at: which machine, and why."""

from dataclasses import replace
from pathlib import Path

import pytest

from migqual.errors import ConnectionLost
from migqual.hosts.shell import Shell
from migqual.model.inventory import Host

pytestmark = pytest.mark.selftest


@pytest.fixture
def entry(tmp_path: Path) -> Host:
    """A host on whose port nobody listens."""
    (tmp_path / "known_hosts").touch()
    return Host(name="h1", address="127.0.0.2", port=1, known_hosts=tmp_path / "known_hosts")


def said(entry: Host) -> str:
    with pytest.raises(ConnectionLost) as caught:
        Shell(entry).open()
    assert caught.value.remedy
    return caught.value.message


def test_the_reason_without_pythons_names(entry: Host) -> None:
    assert said(entry) == "h1: SSH to root@127.0.0.2:1: connection refused"


def test_a_jump_host_is_named(entry: Host) -> None:
    """The host behind it is not to blame."""
    jumping = replace(entry, address="192.0.2.1", port=22, jump_hosts=("me@127.0.0.3:1",))

    assert said(jumping) == "jump host 127.0.0.3: SSH to me@127.0.0.3:1: connection refused"


def test_known_hosts_that_are_none(entry: Host) -> None:
    entry.known_hosts.write_text("127.0.0.2 ssh-ed25519 no*key\n")

    assert f"no host key in {entry.known_hosts}" in said(entry)
