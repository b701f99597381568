"""Tests of qemu.conf: parsed as in libvirt, and changed without loss of other lines."""

from pathlib import PurePosixPath

import pytest

from migqual.tls import qemu_conf

pytestmark = pytest.mark.selftest

CONF_TEXT = """\
# migrate_tls_x509_verify = 0
user = "qemu"   # who
group = "kvm"
default_tls_x509_cert_dir = "/etc/pki/all"
cgroup_device_acl = [
    "/dev/null", "/dev/kvm"
]
migrate_tls_x509_cert_dir = "/etc/pki/migration"
migrate_tls_force = 1
"""


def test_settings_are_parsed_from_qemu_conf() -> None:
    """Comments in qemu.conf have no effect. A key `migrate_tls_...` overrides `default_tls_...`."""
    tls_settings = qemu_conf.parse_qemu_conf(CONF_TEXT)

    assert tls_settings == qemu_conf.TlsSettings(
        PurePosixPath("/etc/pki/migration"),
        verify_peers=True,
        force_tls=True,
        user="qemu",
        group="kvm",
    )


def test_defaults_of_empty_qemu_conf() -> None:
    """By default libvirt verifies peers, does not force TLS, and uses /etc/pki/qemu."""
    tls_settings = qemu_conf.parse_qemu_conf("")

    assert tls_settings.certificate_folder == PurePosixPath("/etc/pki/qemu")
    assert (tls_settings.verify_peers, tls_settings.force_tls, tls_settings.user) == (
        True,
        False,
        "",
    )


def test_defaults_of_old_libvirt_and_migration_folder() -> None:
    """
    A key `migrate_tls_...` in qemu.conf overrides libvirt's defaults.

    Preconditions: libvirt is older than 6.10 and does not verify peers by default. The host has
    the certificate folder /etc/pki/libvirt-migrate, which libvirt uses only for migrations.
    Expected: `migrate_tls_x509_verify` switches the verification on. `migrate_tls_x509_cert_dir`
    replaces /etc/pki/libvirt-migrate. The key `default_tls_x509_cert_dir` has no effect, because
    /etc/pki/libvirt-migrate overrides this key.
    """
    migration_folder = PurePosixPath("/etc/pki/libvirt-migrate")
    defaults = qemu_conf.TlsDefaults(verify_peers=False, certificate_folder=migration_folder)

    assert not qemu_conf.parse_qemu_conf("", defaults).verify_peers
    assert qemu_conf.parse_qemu_conf("migrate_tls_x509_verify = 1\n", defaults).verify_peers
    assert (
        qemu_conf.parse_qemu_conf(
            'default_tls_x509_cert_dir = "/etc/pki/all"\n', defaults
        ).certificate_folder
        == migration_folder
    )
    assert qemu_conf.parse_qemu_conf(CONF_TEXT, defaults).certificate_folder == PurePosixPath(
        "/etc/pki/migration"
    )


@pytest.mark.parametrize(
    ("text", "verify"),
    [
        ("migrate_tls_x509_verify = 0\n", False),
        ("default_tls_x509_verify = 0\n", False),
        ("default_tls_x509_verify = 0\nmigrate_tls_x509_verify = 1\n", True),
        ("  migrate_tls_x509_verify=0 # off\n", False),
        ("migrate_tls_x509_verify = 0\nmigrate_tls_x509_verify = 1\n", False),
    ],
)
def test_peer_verification_keys(text: str, verify: bool) -> None:  # noqa: FBT001
    """In qemu.conf, `migrate_tls_x509_verify` overrides `default_tls_x509_verify`.

    If several lines set the same key, the first line counts.
    """
    assert qemu_conf.parse_qemu_conf(text).verify_peers is verify


def test_change_replaces_only_the_given_keys() -> None:
    """A change of qemu.conf keeps lists, comments and other keys; a changed key has one line."""
    changed_text = qemu_conf.update_qemu_conf(
        CONF_TEXT, migrate_tls_force=0, migrate_tls_x509_verify=1
    )

    assert qemu_conf.parse_qemu_conf(changed_text).force_tls is False
    assert changed_text.count("migrate_tls_force =") == 1
    unchanged_lines = [
        line for line in CONF_TEXT.splitlines() if not line.startswith("migrate_tls_force")
    ]
    assert changed_text.splitlines()[: len(unchanged_lines)] == unchanged_lines
    assert (
        qemu_conf.update_qemu_conf(changed_text, migrate_tls_force=0, migrate_tls_x509_verify=1)
        == changed_text
    )


def test_folder_is_changed_in_the_text() -> None:
    """The certificate folder is changed in qemu.conf: one new line replaces the old line."""
    changed_text = qemu_conf.update_qemu_conf(
        CONF_TEXT, migrate_tls_x509_cert_dir='"/etc/pki/qemu/mq-1"'
    )

    assert qemu_conf.parse_qemu_conf(changed_text).certificate_folder == PurePosixPath(
        "/etc/pki/qemu/mq-1"
    )
    assert changed_text.count("migrate_tls_x509_cert_dir =") == 1
