"""LM-PRE-05: whoever holds the right SSH key manages the host, and nobody else."""

import re
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from fixtures.plugins.hosts import Pair
from migqual.hosts.guest import Guest
from migqual.hosts.host import Host
from migqual.hosts.provision import Provisioner
from migqual.model.finding import Severity
from migqual.model.inventory import Host as Entry
from suites.prerequisites.damage import lenient_ssh
from suites.prerequisites.looking import Look

Change = Callable[[Entry, Path], Entry]


def wrong_key(entry: Entry, folder: Path) -> Entry:
    key = folder / "wrong"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
    return replace(entry, key=key)


def no_host_key(entry: Entry, folder: Path) -> Entry:
    (folder / "known_hosts").touch()
    return replace(entry, known_hosts=folder / "known_hosts")


def other_host_key(entry: Entry, folder: Path) -> Entry:
    public = wrong_key(entry, folder).key
    words = Path(f"{public}.pub").read_text().split()[:2]
    (folder / "known_hosts").write_text(f"{entry.address} {' '.join(words)}\n")
    return replace(entry, known_hosts=folder / "known_hosts")


@pytest.mark.requirement("LM-PRE-05")
@pytest.mark.parametrize(
    ("change", "words"),
    [
        (wrong_key, "Authentication"),
        (no_host_key, "not found in known_hosts"),
        (other_host_key, "BadHostKey|does not match"),
    ],
    ids=["wrong-key", "unknown-host-key", "changed-host-key"],
)
def test_no_way_in(
    change: Change, words: str, look: Look, standing: Guest, pair: Pair, tmp_path: Path
) -> None:
    """
    With a wrong key, or at a host whose own key is unknown or another one, nobody gets in.

    Preconditions: an inventory that is wrong in that one point.
    Expected: refused with the reason; all that lies behind the door is unknown, nothing is ok.
    """
    with Host(change(pair.destination.entry, tmp_path)) as destination:
        found = look(standing.name, destination=destination)

    assert found["LM-PRE-05.key"].verdict is Severity.REFUSED
    assert re.search(words, found["LM-PRE-05.key"].words)
    assert found["LM-PRE-02.storage"].verdict is Severity.UNKNOWN


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
def test_server_that_lets_others_in(
    check: str,
    settings: list[str],
    look: Look,
    standing: Guest,
    pair: Pair,
    provision: Provisioner,
    tmp_path: Path,
) -> None:
    """
    A host that takes passwords, or anybody's key, is found by trying.

    Preconditions: the destination's SSH server is set up so.
    Expected: refused, with the setting that mends it.
    """
    known = tmp_path / "known_hosts"
    with (
        lenient_ssh(provision, pair.destination, known, *settings) as entry,
        Host(entry) as destination,
    ):
        finding = look(standing.name, destination=destination)[f"LM-PRE-05.{check}"]

    assert finding.verdict is Severity.REFUSED
    assert pair.destination.name in finding.words
    assert finding.remedy
