"""LM-TLS-01: `migqual tls` installs, checks, renews, and puts back."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from fixtures.plugins.encryption import Encryption
from fixtures.plugins.hosts import Pair
from migqual.model.inventory import Inventory
from migqual.tls import check, identity
from migqual.tls.authority import CA_CRL, SERVER_CERT

MIGQUAL = Path(sys.executable).with_name("migqual")


@pytest.mark.requirement("LM-TLS-01")
def test_certificates_by_hand(
    encryption: Encryption, inventory: Inventory, pair: Pair, tmp_path: Path
) -> None:
    """
    A person can install certificates, have them checked and renewed, and get back what was there.

    Preconditions: other certificates are there already.
    Expected: the check is content with the new ones; renewal changes them; what one host gets back
    takes nothing from the other; afterwards both are as they were.
    """
    names = [host.name for host in pair.hosts]
    source, destination = names
    encryption.identity(pair.source)
    before = [identity.state_of(host) for host in pair.hosts]

    def tls(action: str, *words: str) -> str:
        done = asked(inventory, tmp_path, action, *words)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    tls("install", *names)
    installed = serving(pair)
    verdicts = {row["verdict"] for row in json.loads(tls("check", "--json", *names))}
    tls("rotate", *names)
    renewed = serving(pair)
    tls("restore", source)
    one_is_back = [identity.state_of(pair.source), serving(pair)[1]]
    tls("restore", destination)

    assert verdicts == {"ok"}
    assert all(old != new for old, new in zip(installed, renewed, strict=True))
    assert one_is_back == [before[0], renewed[1]]
    assert [identity.state_of(host) for host in pair.hosts] == before


@pytest.mark.requirement("LM-TLS-01")
def test_what_somebody_changed_meanwhile_is_not_removed(
    encryption: Encryption, inventory: Inventory, pair: Pair, tmp_path: Path
) -> None:
    """
    Certificates that an administrator puts over ours are neither overwritten nor removed.

    Preconditions: ours are installed; then one file in their folder is another.
    Expected: renewal and restoring refuse, say where both are, and touch nothing; once ours are as
    they were, what was there before comes back.
    """
    host = pair.source
    before = identity.state_of(host)
    crl = encryption.identity(host).folder / CA_CRL

    assert asked(inventory, tmp_path, "install", host.name).returncode == 0
    host.shell.run("touch", crl)
    changed = identity.state_of(host)
    refused = [asked(inventory, tmp_path, action, host.name) for action in ("rotate", "restore")]
    untouched = identity.state_of(host)
    host.shell.run("rm", crl)
    restored = asked(inventory, tmp_path, "restore", host.name)

    assert [done.returncode for done in refused] == [3, 1]
    assert all("changed by somebody else" in done.stdout + done.stderr for done in refused)
    assert untouched == changed
    assert restored.returncode == 0, restored.stdout + restored.stderr
    assert identity.state_of(host) == before


def serving(pair: Pair) -> list[bytes]:
    """The certificate of each host as a server."""
    return [check.collect(host).certificates[SERVER_CERT] for host in pair.hosts]


def asked(inventory: Inventory, state: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """`migqual tls`, with a state of the test's own: what its user has installed is not its."""
    action, *more = words
    return subprocess.run(
        [MIGQUAL, "tls", action, "--inventory", str(inventory.file), *more],
        env=os.environ | {"MIGQUAL_STATE": str(state)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
