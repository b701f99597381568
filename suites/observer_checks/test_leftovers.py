"""Leftovers of a test on a host are found."""

from contextlib import ExitStack

import pytest

from migqual.inventory.entities import Inventory
from migqual.observe.leftovers import LeftoverAudit
from migqual.testbed.testbed import Testbed

pytestmark = pytest.mark.observer_check

INTERFACE = "mqleft0"


def test_leftovers_on_a_host_are_found(testbed: Testbed, inventory: Inventory) -> None:
    """
    A file, a process and a network interface left on a host are found.

    Preconditions: a file and a process with a name of the current run, and a network interface.
    Expected: each of the three is found on the right host and on no other host. After the
    removal no leftover is found.
    """
    prefix = f"mq-{testbed.provisioner.run_id}-{testbed.provisioner.lane_number}-"
    audit = LeftoverAudit(inventory, prefix)
    host = testbed.source
    file = host.entry.scratch / f"{prefix}left.raw"
    earlier_leftovers = audit.list_leftovers(testbed.hosts)

    with ExitStack() as stack:
        stack.callback(host.shell.run, "rm", "-f", "--", file)
        host.shell.run("touch", "--", file)
        stack.callback(host.shell.run, "ip", "link", "delete", INTERFACE)
        host.shell.run("ip", "tuntap", "add", INTERFACE, "mode", "tap")
        process_script = f'echo up; exec -a "guest={prefix}left" cat'  # ends at end of input
        process = stack.enter_context(host.shell.start("bash", "-c", process_script))
        assert next(iter(process)) == "up\n"
        leftovers = audit.list_leftovers(testbed.hosts) - earlier_leftovers
        process.close_stdin()
        assert list(process) == []

    assert leftovers == {
        f"{host.name}: file {file}",
        f"{host.name}: interface {INTERFACE}",
        f"{host.name}: process guest={prefix}left",
    }
    assert audit.list_leftovers(testbed.hosts) <= earlier_leftovers
