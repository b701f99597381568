"""Query facts for preflight from libvirt. No query taints a domain or changes a host."""

from typing import Any

import libvirt

from migqual.errors import ConnectionLost, GuestError, HostError, StackError
from migqual.hosts.connection import Connection
from migqual.hosts.domain import Domain
from migqual.hosts.guest_identity import GUEST_PREFIX


def query_disk_errors(domain: Domain) -> dict[str, int]:
    """Query the disk errors of a domain (virDomainGetDiskErrors).

    Returns:
        The error number by target name of the disk. Disks without an error are left out.

    Raises:
        StackError: libvirt refuses the query.
    """
    try:
        return {str(target): int(code) for target, code in domain.raw.diskErrors().items()}
    except libvirt.libvirtError as error:
        raise StackError(domain.host, "query disk errors", str(error)) from error


def list_snapshots(domain: Domain) -> tuple[str, ...]:
    """List the names of a domain's snapshots that libvirt knows (virDomainSnapshotListNames).

    Raises:
        StackError: libvirt refuses the query.
    """
    names = domain.call_libvirt("list snapshots", lambda d: d.snapshotListNames())
    return tuple(sorted(str(name) for name in names))


def check_guest_agent(domain: Domain) -> None:
    """Check that the guest agent answers, by a query of the guest's clock (virDomainGetTime).

    The query does not taint the domain, but a custom agent command would.

    Raises:
        GuestError: The agent does not answer.
    """
    try:
        domain.raw.getTime()
    except libvirt.libvirtError as error:
        raise GuestError(f"{domain.name} on {domain.host}: guest agent: {error}") from error


def compare_guest_cpu(
    connection: Connection,
    cpu_xml: str,
    *,
    emulator: str | None,
    arch: str,
    machine: str,
    virt_type: str,
) -> str:
    """Compare a guest's CPU with the CPU of the hypervisor (virConnectCompareHypervisorCPU).

    Args:
        connection: Connection to the host.
        cpu_xml: The `cpu` element of the guest.
        emulator: Path of QEMU; None selects libvirt's default.
        arch: Architecture, for example `x86_64`.
        machine: Machine type, for example `q35`.
        virt_type: Domain type: `kvm` or `qemu`.

    Returns:
        `identical` or `superset` when the hypervisor can provide the guest's CPU; otherwise
        libvirt's explanation, or `incompatible`.

    Raises:
        ConnectionLost: The connection broke during the query.
        StackError: libvirt refuses the query.
    """
    flags = libvirt.VIR_CONNECT_COMPARE_CPU_FAIL_INCOMPATIBLE
    result_names = {
        libvirt.VIR_CPU_COMPARE_IDENTICAL: "identical",
        libvirt.VIR_CPU_COMPARE_SUPERSET: "superset",
    }
    try:
        result = connection.raw.compareHypervisorCPU(
            emulator, arch, machine, virt_type, cpu_xml, flags
        )
    except libvirt.libvirtError as error:
        if error.get_error_code() == libvirt.VIR_ERR_CPU_INCOMPATIBLE:
            return str(error)
        if not connection.raw.isAlive():
            raise ConnectionLost(connection.host, str(error)) from error
        raise StackError(connection.host, "compare CPU", str(error)) from error
    return result_names.get(result, "incompatible")


def find_network_bridge(connection: Connection, network_name: str) -> str:
    """Find the name of the bridge of an active virtual network.

    Raises:
        HostError: The network does not exist, or is not active.
    """

    def query_bridge(raw: Any) -> str:  # noqa: ANN401 - the binding is untyped
        network = raw.networkLookupByName(network_name)
        return str(network.bridgeName()) if network.isActive() else ""

    bridge = connection.call_libvirt(f"find network {network_name}", query_bridge)
    if not bridge:
        raise HostError(
            connection.host,
            f"network {network_name} is not active",
            remedy=f"run `virsh net-start {network_name}` on {connection.host}",
        )
    return bridge


def list_foreign_guests_with_jobs(connection: Connection) -> list[str]:
    """List the running guests that migqual did not create and that have a job, e.g. a migration.

    Raises:
        HostError: libvirt does not answer.
    """
    domains = connection.call_libvirt(
        "list guests", lambda c: c.listAllDomains(libvirt.VIR_CONNECT_LIST_DOMAINS_ACTIVE)
    )
    return [
        str(domain.name())
        for domain in domains
        if not domain.name().startswith(GUEST_PREFIX) and _has_job(domain)
    ]


def _has_job(domain: libvirt.virDomain) -> bool:
    try:
        return bool(domain.jobInfo()[0] != libvirt.VIR_DOMAIN_JOB_NONE)
    except libvirt.libvirtError:
        return False  # the guest has ended
