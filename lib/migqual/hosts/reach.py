"""Whether every host of an inventory can be reached, as `migqual inventory check` asks."""

from concurrent.futures import ThreadPoolExecutor

from migqual.errors import HostError
from migqual.hosts.host import Host
from migqual.model.finding import Finding, Severity
from migqual.model.inventory import Host as HostEntry
from migqual.model.inventory import Inventory, Role

AT_ONCE = 16


def connect(inventory: Inventory) -> tuple[Finding, ...]:
    """Log in at every host, and speak with libvirt on every hypervisor; all side by side.

    One finding per host and way, in the inventory's order. Never raises for a host's fault.
    """
    if not inventory.hosts:
        return ()
    with ThreadPoolExecutor(max_workers=min(AT_ONCE, len(inventory.hosts))) as pool:
        found = pool.map(_reach, inventory.hosts.values())
        return tuple(finding for findings in found for finding in findings)


def _reach(entry: HostEntry) -> list[Finding]:
    with Host(entry) as host:
        findings = [_shell(host)]
        if Role.HYPERVISOR in entry.roles and findings[0].verdict is Severity.OK:
            findings.append(_libvirt(host))
        return findings


def _shell(host: Host) -> Finding:
    name = f"{host.name}.ssh"
    try:
        system = host.shell.run("uname", "-srm").stdout.strip()
    except HostError as error:
        return Finding(name, Severity.REFUSED, error.message, remedy=error.remedy)
    return Finding(name, Severity.OK, f"logged in as {host.entry.user}: {system}")


def _libvirt(host: Host) -> Finding:
    name = f"{host.name}.libvirt"
    try:
        versions = host.libvirt.versions()
    except HostError as error:
        return Finding(name, Severity.REFUSED, error.message, remedy=error.remedy)
    words = f"libvirt {versions['libvirt']}, QEMU {versions['qemu']}"
    return Finding(name, Severity.OK, words, figures=versions)
