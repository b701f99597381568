"""Whatever a test leaves on a host is found."""

from contextlib import ExitStack

import pytest

from fixtures.plugins.hosts import Pair
from migqual.hosts.provision import Provisioner
from migqual.model.inventory import Inventory
from migqual.observe.residue import Audit

pytestmark = pytest.mark.oracle

INTERFACE = "mqleft0"


def test_what_is_left_on_a_host_is_found(
    pair: Pair, provision: Provisioner, inventory: Inventory
) -> None:
    """
    Preconditions: a file and a process that bear a name of this run, and a network interface.
    Expected: each of the three is found on its host, and on no other; nothing once they are gone.
    """
    prefix = f"mq-{provision.run}-{provision.slot}-"
    audit = Audit(inventory, prefix)
    host = pair.source
    file = host.entry.scratch / f"{prefix}left.raw"
    before = audit.traces(pair.hosts)

    with ExitStack() as stack:
        stack.callback(host.shell.run, "rm", "-f", "--", file)
        host.shell.run("touch", "--", file)
        stack.callback(host.shell.run, "ip", "link", "delete", INTERFACE)
        host.shell.run("ip", "tuntap", "add", INTERFACE, "mode", "tap")
        named = f'echo up; exec -a "guest={prefix}left" cat'  # it ends with its input
        process = stack.enter_context(host.shell.start("bash", "-c", named))
        assert next(iter(process)) == "up\n"
        left = audit.traces(pair.hosts) - before
        process.close()
        assert list(process) == []

    assert left == {
        f"{host.name}: file {file}",
        f"{host.name}: interface {INTERFACE}",
        f"{host.name}: process guest={prefix}left",
    }
    assert audit.traces(pair.hosts) <= before
