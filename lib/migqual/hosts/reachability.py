"""Check the reachability of every host of an inventory, for `migqual inventory check`."""

from concurrent.futures import ThreadPoolExecutor

from migqual.errors import HostError
from migqual.hosts.host import Host
from migqual.inventory.entities import HostEntry, HostRole, Inventory
from migqual.model.finding import Finding, Severity

MAX_PARALLEL_HOSTS = 16


def check_reachability(inventory: Inventory) -> tuple[Finding, ...]:
    """Check SSH on every host and libvirt on every hypervisor, hosts in parallel.

    libvirt is checked only after a successful SSH login. A fault of a host is a finding and
    never an exception.

    Returns:
        A finding for each host and connection, in the order of the inventory.
    """
    if not inventory.hosts:
        return ()
    with ThreadPoolExecutor(max_workers=min(MAX_PARALLEL_HOSTS, len(inventory.hosts))) as pool:
        findings_by_host = pool.map(_check_host, inventory.hosts.values())
        return tuple(finding for findings in findings_by_host for finding in findings)


def _check_host(entry: HostEntry) -> list[Finding]:
    with Host(entry) as host:
        findings = [_check_ssh(host)]
        if HostRole.HYPERVISOR in entry.roles and findings[0].severity is Severity.OK:
            findings.append(_check_libvirt(host))
        return findings


def _check_ssh(host: Host) -> Finding:
    finding_id = f"{host.name}.ssh"
    try:
        system = host.shell.run("uname", "-srm").stdout.strip()
    except HostError as error:
        return Finding(finding_id, Severity.REFUSED, error.message, remedy=error.remedy)
    return Finding(finding_id, Severity.OK, f"logged in as {host.entry.user}: {system}")


def _check_libvirt(host: Host) -> Finding:
    finding_id = f"{host.name}.libvirt"
    try:
        versions = host.libvirt.query_versions()
    except HostError as error:
        return Finding(finding_id, Severity.REFUSED, error.message, remedy=error.remedy)
    message = f"libvirt {versions['libvirt']}, QEMU {versions['qemu']}"
    return Finding(finding_id, Severity.OK, message, figures=versions)
