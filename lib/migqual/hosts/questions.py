"""Questions of preflight to libvirt. None of them marks a domain or changes a host."""

from typing import Any

import libvirt

from migqual.errors import ConnectionLost, GuestError, HostError, StackError
from migqual.hosts.connection import Connection
from migqual.hosts.domain import Domain


def disk_errors(domain: Domain) -> dict[str, int]:
    """Target to error number of the disks that stopped on one (virDomainGetDiskErrors)."""
    try:
        return {str(target): int(code) for target, code in domain.raw.diskErrors().items()}
    except libvirt.libvirtError as error:
        raise StackError(domain.host, "disk errors", str(error)) from error


def agent_clock(domain: Domain) -> None:
    """Ask the guest agent for the time. Raises `GuestError` when it does not answer.

    Unlike a command of one's own, this leaves the domain untainted.
    """
    try:
        domain.raw.getTime()
    except libvirt.libvirtError as error:
        raise GuestError(f"{domain.name} on {domain.host}: {error}") from error


def compare_guest_cpu(
    connection: Connection,
    cpu_xml: str,
    *,
    emulator: str | None,
    arch: str,
    machine: str,
    virt: str,
) -> str:
    """`identical` or `superset`: the hypervisor here has that CPU; else libvirt's words why not.

    Follows virConnectCompareHypervisorCPU.
    """
    flags = libvirt.VIR_CONNECT_COMPARE_CPU_FAIL_INCOMPATIBLE
    names = {
        libvirt.VIR_CPU_COMPARE_IDENTICAL: "identical",
        libvirt.VIR_CPU_COMPARE_SUPERSET: "superset",
    }
    try:
        result = connection.raw.compareHypervisorCPU(emulator, arch, machine, virt, cpu_xml, flags)
    except libvirt.libvirtError as error:
        if error.get_error_code() == libvirt.VIR_ERR_CPU_INCOMPATIBLE:
            return str(error)
        if not connection.raw.isAlive():
            raise ConnectionLost(connection.host, str(error)) from error
        raise StackError(connection.host, "compare CPU", str(error)) from error
    return names.get(result, "incompatible")


def bridge_of_network(connection: Connection, name: str) -> str:
    """The bridge of the active virtual network called `name`. Raises `HostError`."""

    def bridge(raw: Any) -> str:  # noqa: ANN401 - the binding is untyped
        network = raw.networkLookupByName(name)
        return str(network.bridgeName()) if network.isActive() else ""

    found = connection.call(f"network {name}", bridge)
    if not found:
        raise HostError(connection.host, f"network {name} is not active")
    return found
