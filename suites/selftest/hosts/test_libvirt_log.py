"""Errors of libvirt's daemon about a guest or about migrations are found in its log."""

import pytest

from migqual.hosts.libvirt_log import list_migration_errors

pytestmark = pytest.mark.selftest

LOG = """\
internal error: Unable to find an unused port in range 'migration' (49152-49215)
End of file while reading data: : Input/output error
internal error: Unable to find an unused port in range 'migration' (49152-49215)
cannot acquire state change lock of domain mq-1-0-12
domain 'mq-1-0-1' is not running
"""


def test_errors_of_the_guest_and_of_migrations_are_listed_once() -> None:
    """The errors about guest `mq-1-0-1` are listed. Errors about `mq-1-0-12` are left out."""
    assert list_migration_errors(LOG, "mq-1-0-1") == [
        "internal error: Unable to find an unused port in range 'migration' (49152-49215)",
        "domain 'mq-1-0-1' is not running",
    ]
