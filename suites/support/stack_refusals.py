"""Expect libvirt or QEMU to refuse or fail a migration, with any error message."""

import pytest

from migqual.errors import MigrationError
from migqual.hosts.domain import DomainState
from migqual.hosts.guest import Guest
from migqual.model.plan import Plan
from migqual.testbed.testbed import Testbed


def expect_stack_refusal(
    testbed: Testbed,
    guest: Guest,
    plan: Plan,
    error_type: type[MigrationError] = MigrationError,
) -> str:
    """Expect libvirt or QEMU to end a migration with an error, and return the error message.

    A refusal by the guard, which is migqual's own check, does not count. The guest must still run
    on the same host. With `MigrationRefused` as `error_type`, the migration must end before any
    guest data moves.
    """
    host_before = guest.host
    with pytest.raises(error_type) as failure:
        testbed.migrate(guest, plan)
    assert guest.host is host_before
    assert guest.query_state() is DomainState.RUNNING
    return failure.value.message
