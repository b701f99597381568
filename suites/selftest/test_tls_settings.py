"""qemu.conf is read as libvirt reads it, and changed without losing anything."""

from pathlib import PurePosixPath

import pytest

from migqual.tls import settings

pytestmark = pytest.mark.selftest

FILE = """\
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


def test_what_a_file_says_is_in_force() -> None:
    """Comments are not, and what is said of migrations weighs more than what is said of all."""
    found = settings.read(FILE)

    assert found == settings.Settings(
        PurePosixPath("/etc/pki/migration"), verify=True, force=True, user="qemu", group="kvm"
    )


def test_defaults_where_nothing_is_said() -> None:
    """libvirt verifies peers, forces nothing, and has a folder of its own."""
    found = settings.read("")

    assert found.folder == PurePosixPath("/etc/pki/qemu")
    assert (found.verify, found.force, found.user) == (True, False, "")


def test_defaults_of_older_hosts_and_of_a_folder_for_migrations() -> None:
    """Before 6.10 nobody was verified; a folder for migrations comes before one for everything."""
    own = PurePosixPath("/etc/pki/libvirt-migrate")
    unless = settings.Defaults(verify=False, folder=own)

    assert not settings.read("", unless).verify
    assert settings.read("migrate_tls_x509_verify = 1\n", unless).verify
    assert settings.read('default_tls_x509_cert_dir = "/etc/pki/all"\n', unless).folder == own
    assert settings.read(FILE, unless).folder == PurePosixPath("/etc/pki/migration")


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
def test_verification_is_found_wherever_it_is_set(text: str, verify: bool) -> None:  # noqa: FBT001
    """By its own key, by the one for everything, and by the first of several."""
    assert settings.read(text).verify is verify


def test_change_replaces_the_key_and_nothing_else() -> None:
    """Lists, comments and other keys stay as they are; a key is there once."""
    after = settings.changed(FILE, migrate_tls_force=0, migrate_tls_x509_verify=1)

    assert settings.read(after).force is False
    assert after.count("migrate_tls_force =") == 1
    kept = [line for line in FILE.splitlines() if not line.startswith("migrate_tls_force")]
    assert after.splitlines()[: len(kept)] == kept
    assert settings.changed(after, migrate_tls_force=0, migrate_tls_x509_verify=1) == after
