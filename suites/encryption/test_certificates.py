"""LM-TLS-01: certificates are issued, installed, checked and renewed, and bad ones fail."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import pytest

from fixtures.plugins.encryption import Encryption
from fixtures.plugins.guests import MakeGuest
from fixtures.plugins.hosts import Pair
from migqual.errors import MigrationError
from migqual.model.finding import Severity
from migqual.model.guest import DiskSpec, GuestSpec
from migqual.model.inventory import StoreKind
from migqual.model.outcome import Outcome
from migqual.model.plan import Control, Plan, StorageCopy
from migqual.tls import check, identity
from migqual.tls.authority import Authority, Flaw

Migrate = Callable[..., Outcome]

# driven by the controller: a source that drives it may lose the destination's words
ENCRYPTED = Plan(tls=True, control=Control.DIRECT)
STREAMS: Mapping[str, tuple[GuestSpec, Plan]] = {
    "memory": (GuestSpec(), ENCRYPTED),
    "disks": (
        GuestSpec(disks=(DiskSpec(StoreKind.LOCAL),)),
        replace(ENCRYPTED, copy_storage=StorageCopy.ALL),
    ),
}
WORDS: Mapping[Flaw, str] = {
    Flaw.MISSING: r"Unable to access credentials|No such file",
    Flaw.EXPIRED: r"expired",
    Flaw.NOT_YET_VALID: r"not yet|activ",
    Flaw.OTHER_AUTHORITY: r"known issuer|unknown|not trusted|certificate",
    Flaw.WRONG_PURPOSE: r"purpose|usage",
    Flaw.WRONG_NAME: r"does not match the hostname",
}


@dataclass(frozen=True)
class End:
    """A host of the pair, by what it does in a migration."""

    name: str

    def of(self, pair: Pair):  # noqa: ANN201
        return getattr(pair, self.name)


@pytest.mark.requirement("LM-TLS-01")
@pytest.mark.parametrize("stream", STREAMS)
@pytest.mark.parametrize("flaw", WORDS, ids=str)
def test_probe(stream, flaw, encryption, make_guest, migrate, pair):
    """x

    Expected: y
    """
    spec, plan = STREAMS[stream]
    guest = make_guest(spec)
    for end in ("destination", "source"):
        with encryption.flawed(getattr(pair, end), flaw):
            try:
                migrate(guest, plan)
                print("PROBE", stream, flaw, end, "MIGRATED")
                break
            except MigrationError as e:
                print("PROBE", stream, flaw, end, e.words)
    assert 1
