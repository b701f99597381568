"""LM-PRE-05: only the right SSH key gives access to a host."""

import re
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from fixtures.plugins.preflight import PreflightRunner
from migqual.hosts.guest import Guest
from migqual.hosts.host import Host
from migqual.hosts.ssh_penalties import LEDGER
from migqual.inventory.entities import HostEntry
from migqual.model.finding import Severity
from migqual.testbed.host_pair import HostPair
from migqual.testbed.testbed import Testbed
from suites.support.faults import inject_permissive_sshd

ChangeHostEntry = Callable[[HostEntry, Path], HostEntry]


def use_wrong_key(entry: HostEntry, folder: Path) -> HostEntry:
    key = folder / "wrong"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
    return replace(entry, key=key)


def use_empty_known_hosts(entry: HostEntry, folder: Path) -> HostEntry:
    (folder / "known_hosts").touch()
    return replace(entry, known_hosts=folder / "known_hosts")


def use_wrong_host_key(entry: HostEntry, folder: Path) -> HostEntry:
    key_file = use_wrong_key(entry, folder).key
    public_key = Path(f"{key_file}.pub").read_text().split()[:2]
    server = entry.address if entry.port == 22 else f"[{entry.address}]:{entry.port}"
    (folder / "known_hosts").write_text(f"{server} {' '.join(public_key)}\n")
    return replace(entry, known_hosts=folder / "known_hosts")


@pytest.mark.requirement("LM-PRE-05")
@pytest.mark.parametrize(
    ("change_entry", "message"),
    [
        (use_wrong_key, "Authentication"),
        (use_empty_known_hosts, "not found in known_hosts"),
        (use_wrong_host_key, "BadHostKey|does not match"),
    ],
    ids=["wrong-key", "unknown-host-key", "changed-host-key"],
)
def test_ssh_login_is_refused(
    change_entry: ChangeHostEntry,
    message: str,
    run_preflight: PreflightRunner,
    shared_idle_guest: Guest,
    pair: HostPair,
    tmp_path: Path,
) -> None:
    """
    A wrong user key, or an unknown or changed host key, prevents the SSH login.

    Preconditions: in the inventory, only the user key or only the known_hosts file is wrong.
    Expected: preflight refuses the migration and states the reason. The finding of a check that
    needs the login has the severity unknown.
    """
    LEDGER.wait_until_login_may_fail(pair.destination.entry)

    with Host(change_entry(pair.destination.entry, tmp_path)) as destination:
        findings = run_preflight(shared_idle_guest.name, destination=destination)

    assert findings["LM-PRE-05.key"].severity is Severity.REFUSED
    assert re.search(message, findings["LM-PRE-05.key"].message)
    assert findings["LM-PRE-02.storage"].severity is Severity.UNKNOWN


@pytest.mark.requirement("LM-PRE-05")
@pytest.mark.parametrize(
    ("check", "settings"),
    [
        ("password", ["PasswordAuthentication=yes"]),
        ("password", ["KbdInteractiveAuthentication=yes", "UsePAM=yes"]),
        ("wrong-key", ["AuthorizedKeysCommand=/bin/echo %t %k", "AuthorizedKeysCommandUser=root"]),
    ],
    ids=["password", "keyboard-interactive", "any-key"],
)
def test_permissive_ssh_server_is_found(
    check: str,
    settings: list[str],
    run_preflight: PreflightRunner,
    shared_idle_guest: Guest,
    testbed: Testbed,
    tmp_path: Path,
) -> None:
    """
    Preflight tries logins, and finds an SSH server that accepts passwords or any key.

    Preconditions: a setting of the destination's SSH server allows passwords or any key.
    Expected: preflight refuses. The remedy names the setting to change.
    """
    known_hosts = tmp_path / "known_hosts"
    with (
        inject_permissive_sshd(
            testbed.provisioner, testbed.destination, known_hosts, *settings
        ) as entry,
        Host(entry) as destination,
    ):
        finding = run_preflight(shared_idle_guest.name, destination=destination)[
            f"LM-PRE-05.{check}"
        ]

    assert finding.severity is Severity.REFUSED
    assert testbed.destination.name in finding.message
    assert finding.remedy
