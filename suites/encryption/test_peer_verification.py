"""LM-TLS-02: hosts accept only peers with a certificate, and can require TLS."""

import pytest

from fixtures.plugins.encryption import Encryption
from fixtures.plugins.guests import RecordFigures
from fixtures.plugins.stack_messages import RecordStackMessage
from migqual.errors import UnsupportedError
from migqual.model.guest_spec import GuestSpec
from migqual.model.plan import Control, Plan
from migqual.testbed.host_pair import HostPair
from migqual.testbed.testbed import Testbed
from migqual.tls.certificate_authority import CertificateFlaw
from migqual.tls.host_settings import is_libvirt_at_least
from migqual.tls.qemu_conf import MIGRATE_TLS_FORCE_SINCE
from suites.support.stack_refusals import expect_stack_refusal

UNENCRYPTED_PLAN = Plan(control=Control.DIRECT)
TLS_PLAN = Plan(tls=True, control=Control.DIRECT)


@pytest.mark.requirement("LM-TLS-02")
def test_hosts_are_set_to_verify_their_peers(encryption: Encryption, pair: HostPair) -> None:
    """
    Both hosts are configured to verify the sender of a guest.

    Expected: before migqual changed any setting, `migrate_tls_x509_verify` was in force on both
    hosts. A host without verification does not qualify.
    """
    assert {
        host.name: encryption.get_original_settings(host).verify_peers for host in pair.hosts
    } == {host.name: True for host in pair.hosts}


@pytest.mark.requirement("LM-TLS-02")
def test_peer_without_certificate_is_refused(
    encryption: Encryption,
    testbed: Testbed,
    record_figures: RecordFigures,
    record_stack_message: RecordStackMessage,
) -> None:
    """
    The destination refuses a source without a certificate, and peer verification is the only
    reason.

    Preconditions: the source has the certificate of the authority, but no host certificate.
    Expected: with verification the migration fails, and the guest runs on. Without verification
    at the destination, the same source is accepted. The difference shows the effect of
    verification.
    """
    guest = testbed.make_guest(GuestSpec())

    with encryption.install_flawed_certificates(testbed.source, CertificateFlaw.MISSING):
        message = expect_stack_refusal(testbed, guest, TLS_PLAN)
        record_stack_message("peer-without-certificate", message)
        with encryption.configure_qemu_conf(testbed.destination, migrate_tls_x509_verify=0):
            testbed.migrate(guest, TLS_PLAN)

    assert guest.host is testbed.destination
    environment = {"without verification": "a peer without a certificate is accepted"}
    record_figures("peer verification", environment)


@pytest.mark.requirement("LM-TLS-02")
@pytest.mark.parametrize("end", ["source", pytest.param("destination", marks=pytest.mark.slow)])
def test_tls_force_refuses_unencrypted_migration(
    end: str, encryption: Encryption, testbed: Testbed, record_stack_message: RecordStackMessage
) -> None:
    """
    A host with forced TLS refuses every migration without TLS.

    Preconditions: `migrate_tls_force = 1` at a single end.
    Expected: without TLS the migration is refused. With TLS the guest moves.
    """
    host = getattr(testbed.pair, end)
    if not is_libvirt_at_least(host, MIGRATE_TLS_FORCE_SINCE):
        version = host.libvirt.versions()["libvirt"]
        raise UnsupportedError(f"{host.name}: libvirt {version} does not know migrate_tls_force")
    guest = testbed.make_guest(GuestSpec())

    with encryption.configure_qemu_conf(host, migrate_tls_force=1):
        message = expect_stack_refusal(testbed, guest, UNENCRYPTED_PLAN)
        record_stack_message("tls-required", message)
        testbed.migrate(guest, TLS_PLAN)

    assert guest.host is testbed.destination
