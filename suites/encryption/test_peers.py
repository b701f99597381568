"""LM-TLS-02: hosts take guests only from peers that show a certificate; policies of encryption."""

from collections.abc import Callable

import pytest

from fixtures.plugins.encryption import Encryption
from fixtures.plugins.guests import MakeGuest
from fixtures.plugins.hosts import Pair
from fixtures.plugins.records import add_environment
from migqual.errors import MigrationError, UnsupportedError
from migqual.model.guest import GuestSpec
from migqual.model.outcome import Outcome
from migqual.model.plan import Control, Plan
from migqual.tls import identity
from migqual.tls.authority import Flaw
from migqual.tls.settings import FORCES_SINCE

Migrate = Callable[..., Outcome]

PLAIN = Plan(control=Control.DIRECT)
ENCRYPTED = Plan(tls=True, control=Control.DIRECT)


@pytest.mark.requirement("LM-TLS-02")
def test_hosts_are_set_to_verify_their_peers(encryption: Encryption, pair: Pair) -> None:
    """
    Both hosts verify who sends them a guest, as they were found.

    Preconditions: none; what the suite itself has set does not count.
    Expected: `migrate_tls_x509_verify` is in force on both. A host with it off does not qualify.
    """
    assert {host.name: encryption.found(host).verify for host in pair.hosts} == {
        host.name: True for host in pair.hosts
    }


@pytest.mark.requirement("LM-TLS-02")
def test_peer_without_a_certificate_is_turned_away(
    encryption: Encryption,
    make_guest: MakeGuest,
    migrate: Migrate,
    pair: Pair,
    pytestconfig: pytest.Config,
) -> None:
    """
    A source that shows no certificate is refused, by verification and by nothing else.

    Preconditions: the source has the authority's certificate and none of its own.
    Expected: with verification the migration fails and the guest runs on; with it switched off at
    the destination the same source is let in, which shows what verification is worth.
    """
    guest = make_guest(GuestSpec())

    with encryption.flawed(pair.source, Flaw.MISSING):
        with pytest.raises(MigrationError, match=r"TLS channel|[Nn]o certificate"):
            migrate(guest, ENCRYPTED)
        assert guest.host is pair.source
        with encryption.configured(pair.destination, migrate_tls_x509_verify=0):
            migrate(guest, ENCRYPTED)

    assert guest.host is pair.destination
    told = {"without verification": "a peer without a certificate is let in"}
    add_environment(pytestconfig, f"peer verification {pair.id}", told)


@pytest.mark.requirement("LM-TLS-02")
@pytest.mark.parametrize("end", ["source", pytest.param("destination", marks=pytest.mark.long)])
def test_encryption_may_be_forced(
    end: str, encryption: Encryption, make_guest: MakeGuest, migrate: Migrate, pair: Pair
) -> None:
    """
    A host that insists on TLS takes part in no other migration.

    Preconditions: `migrate_tls_force = 1` at one end.
    Expected: without TLS the migration is refused, naming the flag; with it the guest moves.
    """
    host = getattr(pair, end)
    if not identity.is_since(host, FORCES_SINCE):
        version = host.libvirt.versions()["libvirt"]
        raise UnsupportedError(f"{host.name}: libvirt {version} does not know migrate_tls_force")
    guest = make_guest(GuestSpec())

    with encryption.configured(host, migrate_tls_force=1):
        with pytest.raises(MigrationError, match="VIR_MIGRATE_TLS"):
            migrate(guest, PLAIN)
        assert guest.host is pair.source
        migrate(guest, ENCRYPTED)

    assert guest.host is pair.destination
