"""LM-TLS-01: certificates are issued, installed, checked and renewed, and bad ones fail."""

import re
from collections.abc import Callable, Mapping
from dataclasses import replace

import pytest

from fixtures.plugins.encryption import Encryption
from fixtures.plugins.guests import MakeGuest, StackDid
from fixtures.plugins.hosts import Pair
from migqual.errors import MigrationError
from migqual.hosts.guest import Guest
from migqual.hosts.host import Host
from migqual.model.finding import Severity
from migqual.model.guest import DiskSpec, GuestSpec
from migqual.model.inventory import StoreKind
from migqual.model.outcome import Outcome
from migqual.model.plan import Control, Guard, Plan, StorageCopy
from migqual.tls import check
from migqual.tls.authority import Authority, Flaw

Migrate = Callable[..., Outcome]

# driven by the controller: a source that drives it may lose the destination's words
ENCRYPTED = Plan(tls=True, control=Control.DIRECT)
WITH_DISK = GuestSpec(disks=(DiskSpec(StoreKind.LOCAL),))
STREAMS: Mapping[str, tuple[GuestSpec, Plan]] = {
    "memory": (GuestSpec(), ENCRYPTED),
    "disks": (WITH_DISK, replace(ENCRYPTED, copy_storage=StorageCopy.ALL)),
}
# What the stack says of each, in its error or in QEMU's log at either end: libvirt tells what one
# end said first, which may be no more than that its peer broke off. A disk's server logs nothing.
BROKEN_OFF = "TLS channel"
WORDS: Mapping[Flaw, str] = {
    Flaw.MISSING: r"Unable to access credentials|[Nn]o certificate",
    Flaw.EXPIRED: r"expired",
    Flaw.NOT_YET_VALID: r"not yet active",
    Flaw.OTHER_AUTHORITY: r"known issuer",
    Flaw.WRONG_PURPOSE: r"purpose does not allow|usage does not permit",
    Flaw.WRONG_NAME: r"does not match the hostname",
}
# the name of the client is nothing that a server compares
ENDS = ("destination", "source")
FLAWED = [
    (flaw, end) for flaw in WORDS for end in ENDS if (flaw, end) != (Flaw.WRONG_NAME, ENDS[1])
]
FINDINGS: Mapping[Flaw, str] = {
    Flaw.MISSING: "LM-TLS-01.files",
    Flaw.EXPIRED: "LM-TLS-01.expiry",
    Flaw.NOT_YET_VALID: "LM-TLS-01.expiry",
    Flaw.WRONG_NAME: "LM-TLS-01.name",
    Flaw.WEAK_KEY: "LM-TLS-01.key",
    Flaw.OTHER_AUTHORITY: "LM-TLS-01.common",
}


@pytest.mark.requirement("LM-TLS-01")
@pytest.mark.parametrize("stream", ["memory", pytest.param("disks", marks=pytest.mark.long)])
def test_bad_certificates_fail_cleanly(
    stream: str, encryption: Encryption, make_guest: MakeGuest, migrate: Migrate, pair: Pair
) -> None:
    """
    With a bad certificate at either end a migration fails for that reason, and the guest runs on.

    Preconditions: in turn at each end one that is missing, expired, not yet valid, of another
    authority, for another purpose or, at the destination, for another name.
    Expected: each fails and says why; the guest is unharmed at the source; once the certificates
    are good the same migration succeeds.
    """
    spec, plan = STREAMS[stream]
    guest = make_guest(spec)

    for flaw, end in FLAWED:
        with encryption.flawed(getattr(pair, end), flaw):
            words = refusal(migrate, guest, plan, pair)
        reason = WORDS[flaw] if stream == "memory" else f"{WORDS[flaw]}|{BROKEN_OFF}"
        assert re.search(reason, words), f"{flaw} at the {end}: {words}"
        assert guest.host is pair.source

    migrate(guest, plan)
    assert guest.host is pair.destination


@pytest.mark.requirement("LM-TLS-01")
@pytest.mark.parametrize("stream", ["memory", pytest.param("disks", marks=pytest.mark.long)])
def test_revoked_source_is_turned_away(
    stream: str, encryption: Encryption, make_guest: MakeGuest, migrate: Migrate, pair: Pair
) -> None:
    """
    A source whose certificate the destination knows as revoked is turned away.

    Preconditions: the destination's list of revoked certificates names that of the source.
    Expected: the migration fails, and the guest runs on; without the list it succeeds.
    """
    spec, plan = STREAMS[stream]
    guest = make_guest(spec)

    with encryption.revoked(pair.source, at=pair.destination):
        words = refusal(migrate, guest, plan, pair)
    assert re.search("revoked" if stream == "memory" else f"revoked|{BROKEN_OFF}", words), words
    assert guest.host is pair.source

    migrate(guest, plan)
    assert guest.host is pair.destination


@pytest.mark.requirement("LM-TLS-01")
@pytest.mark.long
def test_revoked_destination_is_recorded(
    encryption: Encryption, make_guest: MakeGuest, pair: Pair, stack_did: StackDid
) -> None:
    """
    Whether a source heeds its own list of revoked certificates is recorded.

    Preconditions: the source's list names the certificate of the destination.
    Expected: recorded, since QEMU reads the list where it is the server, and not in every version
    where it is the client; the guest is unharmed either way.
    """
    guest = make_guest(GuestSpec())

    with encryption.revoked(pair.destination, at=pair.source):
        words = stack_did(guest, ENCRYPTED)

    assert words == "migrated" or re.search(f"revoked|{BROKEN_OFF}", words)


@pytest.mark.requirement("LM-TLS-01")
def test_certificates_are_renewed_between_migrations(
    encryption: Encryption, make_guest: MakeGuest, migrate: Migrate, pair: Pair
) -> None:
    """
    Certificates can be renewed while a guest runs: the next migration uses the new ones.

    Preconditions: the guest has moved with the certificates of one authority.
    Expected: with those of another at one end only, the way back fails; with them at both ends it
    succeeds, without any restart.
    """
    guest = make_guest(GuestSpec())
    migrate(guest, ENCRYPTED)
    renewed = Authority()

    encryption.install(pair.source, renewed)
    words = refusal(migrate, guest, ENCRYPTED, pair)
    encryption.renew(renewed)
    migrate(guest, ENCRYPTED)

    assert "known issuer" in words
    assert guest.host is pair.source


@pytest.mark.requirement("LM-TLS-01")
def test_name_of_the_destination_may_be_told(
    encryption: Encryption, make_guest: MakeGuest, migrate: Migrate, pair: Pair
) -> None:
    """
    A certificate for another name than the address is accepted once that name is told.

    Preconditions: the destination's certificate bears one name, and not its address.
    Expected: refused by name at first; with `--tls-destination` the guest moves.
    """
    guest = make_guest(GuestSpec())

    with encryption.flawed(pair.destination, Flaw.WRONG_NAME):
        words = refusal(migrate, guest, ENCRYPTED, pair)
        migrate(guest, replace(ENCRYPTED, tls_destination=Authority.ELSEWHERE))

    assert re.search(WORDS[Flaw.WRONG_NAME], words)
    assert guest.host is pair.destination


@pytest.mark.requirement("LM-TLS-01")
@pytest.mark.long
@pytest.mark.usefixtures("encryption")
def test_disks_beside_several_channels_without_a_name(
    make_guest: MakeGuest, stack_did: StackDid
) -> None:
    """
    Whether disks go over TLS beside several channels without `--tls-destination` is recorded.

    Preconditions: certificates for the destination's address.
    Expected: recorded, since some versions of libvirt tell QEMU no name for the disks then, and
    QEMU refuses; the guest is unharmed either way.
    """
    guest = make_guest(WITH_DISK)
    plan = replace(STREAMS["disks"][1], channels=2, guard=Guard.OFF)

    words = stack_did(guest, plan)

    assert words == "migrated" or "does not match the hostname" in words


@pytest.mark.requirement("LM-TLS-01")
def test_check_is_content_with_good_certificates(encryption: Encryption, pair: Pair) -> None:
    """
    The check of certificates finds nothing wrong with those that the suite made.

    Preconditions: certificates of one authority on both hosts.
    Expected: every finding is ok.
    """
    assert set(encryption.settings) == {host.name for host in pair.hosts}
    assert refused(*pair.hosts) == {}


@pytest.mark.requirement("LM-TLS-01")
@pytest.mark.parametrize("flaw", FINDINGS, ids=str)
def test_check_names_what_is_wrong(flaw: Flaw, encryption: Encryption, pair: Pair) -> None:
    """
    The check of certificates names what is wrong, before a migration fails of it.

    Preconditions: one thing is wrong with the destination's certificates.
    Expected: that finding, and no other, with a remedy.
    """
    with encryption.flawed(pair.destination, flaw):
        found = refused(*pair.hosts)

    assert set(found) == {FINDINGS[flaw]}
    assert all(found.values())


@pytest.mark.requirement("LM-TLS-01")
def test_check_sees_a_key_that_others_can_read(encryption: Encryption, pair: Pair) -> None:
    """
    A private key that others on the host can read is found.

    Preconditions: the rights of the destination's key are changed.
    Expected: that finding, and no other, with a remedy.
    """
    key = encryption.found(pair.destination).folder / "server-key.pem"

    with encryption.restored(pair.destination):
        pair.destination.shell.run("chmod", "644", key)
        found = refused(*pair.hosts)

    assert set(found) == {"LM-TLS-01.rights"}
    assert all(found.values())


def refusal(migrate: Migrate, guest: Guest, plan: Plan, pair: Pair) -> str:
    """What was said when a migration failed that had to: the error, and what QEMU logged of it."""
    before = {host.name: len(qemu_log(host, guest)) for host in pair.hosts}
    with pytest.raises(MigrationError) as failed:
        migrate(guest, plan)
    logged = [qemu_log(host, guest)[before[host.name] :] for host in pair.hosts]
    return "\n".join([failed.value.words, *logged])


def qemu_log(host: Host, guest: Guest) -> str:
    return host.shell.attempt("cat", f"/var/log/libvirt/qemu/{guest.name}.log").stdout


def refused(*hosts: Host) -> dict[str, str]:
    """What the check refuses: id and remedy."""
    facts = [check.collect(host) for host in hosts]
    found = [finding for one in facts for finding in check.findings(one)]
    return {
        finding.id: finding.remedy
        for finding in [*found, check.agree(facts)]
        if finding.verdict is not Severity.OK
    }
