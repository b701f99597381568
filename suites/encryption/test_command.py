"""LM-TLS-01: `migqual tls` installs, checks, renews, and puts back."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from fixtures.plugins.encryption import Encryption
from fixtures.plugins.hosts import Pair
from migqual.model.inventory import Inventory
from migqual.tls import check, identity
from migqual.tls.authority import SERVER_CERT

MIGQUAL = Path(sys.executable).with_name("migqual")


@pytest.mark.requirement("LM-TLS-01")
def test_certificates_by_hand(encryption: Encryption, inventory: Inventory, pair: Pair) -> None:
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

    tls(inventory, "install", *names)
    installed = serving(pair)
    verdicts = {row["verdict"] for row in json.loads(tls(inventory, "check", "--json", *names))}
    tls(inventory, "rotate", *names)
    renewed = serving(pair)
    tls(inventory, "restore", source)
    one_is_back = [identity.state_of(pair.source), serving(pair)[1]]
    tls(inventory, "restore", destination)

    assert verdicts == {"ok"}
    assert all(old != new for old, new in zip(installed, renewed, strict=True))
    assert one_is_back == [before[0], renewed[1]]
    assert [identity.state_of(host) for host in pair.hosts] == before


def serving(pair: Pair) -> list[bytes]:
    """The certificate of each host as a server."""
    return [check.collect(host).certificates[SERVER_CERT] for host in pair.hosts]


def tls(inventory: Inventory, action: str, *words: str) -> str:
    done = subprocess.run(
        [MIGQUAL, "tls", action, "--inventory", str(inventory.file), *words],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
