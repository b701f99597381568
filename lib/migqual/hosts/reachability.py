"""Check that the controller reaches every host of an inventory (`migqual inventory check`)."""

import platform
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from migqual.deadline import Deadline
from migqual.errors import HostError, TimedOut
from migqual.hosts.acceleration import decide_acceleration
from migqual.hosts.host import Host
from migqual.hosts.host_identity import EQUAL_IDENTITY_REMEDY, HostIdentity
from migqual.inventory.entities import Acceleration, HostEntry, HostRole, Inventory
from migqual.model.finding import Finding, Severity

MAX_PARALLEL_HOSTS = 16
LOST_AFTER_SECONDS = 30.0  # a host is lost if all attempts fail for this time


def check_reachability(inventory: Inventory) -> tuple[Finding, ...]:
    """Check the SSH login to every host, and the libvirt connection to every hypervisor.

    The hosts are checked in parallel. libvirt is checked only after a successful SSH login. A
    host that does not answer gives a finding, not an exception.

    Returns:
        A finding (the result of a check) for each connection, in the order of the inventory. If
        guests use KVM, also a finding about KVM for each hypervisor. At the end, a finding for each
        pair of hosts with the same UUID or host name.
    """
    if not inventory.hosts:
        return ()
    check_host = partial(
        _check_host, acceleration=decide_acceleration(inventory.acceleration, inventory.tier)
    )
    with ThreadPoolExecutor(max_workers=min(MAX_PARALLEL_HOSTS, len(inventory.hosts))) as pool:
        results = dict(
            zip(inventory.hosts, pool.map(check_host, inventory.hosts.values()), strict=True)
        )
    identities = {name: identity for name, (_, identity) in results.items() if identity}
    return (
        *(finding for findings, _ in results.values() for finding in findings),
        *_check_identities(inventory, identities),
    )


def find_lost_hosts(
    entries: Sequence[HostEntry], seconds: float = LOST_AFTER_SECONDS
) -> dict[str, str]:
    """Find the hosts that migqual cannot reach within `seconds`.

    The function tries all hosts in parallel, and repeats a failed attempt until `seconds` have
    passed. An attempt runs a command over SSH and, on a hypervisor, queries libvirt. A host is lost
    if no attempt succeeds.

    Returns:
        The last error message by name of the lost host.
    """
    if not entries:
        return {}
    with ThreadPoolExecutor(max_workers=min(MAX_PARALLEL_HOSTS, len(entries))) as pool:
        messages = pool.map(lambda entry: _describe_silence(entry, seconds), entries)
    return {
        entry.name: message for entry, message in zip(entries, messages, strict=True) if message
    }


def _describe_silence(entry: HostEntry, seconds: float) -> str:
    """Try to reach a host until an attempt succeeds or `seconds` have passed.

    Returns:
        The error message of the last attempt; empty if an attempt succeeded.
    """
    messages = [""]

    def is_answering() -> bool:
        try:
            with Host(entry) as host:
                host.shell.run("true")
                if HostRole.HYPERVISOR in entry.roles:
                    host.query_versions()
        except (HostError, TimedOut) as error:
            messages.append(error.message)
            return False
        return True

    try:
        Deadline(seconds).wait_for(f"{entry.name} to answer", is_answering, interval_s=1.0)
    except TimedOut:
        return messages[-1]
    return ""


def _check_host(
    entry: HostEntry, acceleration: Acceleration
) -> tuple[list[Finding], HostIdentity | None]:
    """Check the SSH and libvirt connections to a host.

    Returns:
        The findings and the identity of the host. The identity is None if libvirt was not reached.
    """
    with Host(entry) as host:
        findings = [_check_ssh(host)]
        if HostRole.HYPERVISOR not in entry.roles or findings[0].severity is not Severity.OK:
            return findings, None
        libvirt_finding, identity = _check_libvirt(host)
        findings.append(libvirt_finding)
        if identity is not None and acceleration is Acceleration.KVM:
            findings.append(_check_kvm(host))
        return findings, identity


def _check_ssh(host: Host) -> Finding:
    finding_id = f"{host.name}.ssh"
    try:
        system = host.shell.run("uname", "-srm").stdout.strip()
    except HostError as error:
        return Finding(finding_id, Severity.REFUSED, error.message, remedy=error.remedy)
    architecture, own_architecture = system.rpartition(" ")[2], platform.machine()
    if architecture != own_architecture:
        return Finding(
            finding_id,
            Severity.REFUSED,
            f"{host.name} is an {architecture} host. The programs and guests of this migqual are "
            f"for {own_architecture}",
            remedy=f"run migqual on a machine with the architecture {architecture}",
        )
    user = f"{host.entry.user}, with sudo" if host.entry.become else host.entry.user
    return Finding(finding_id, Severity.OK, f"login as {user} works; the host runs {system}")


def _check_kvm(host: Host) -> Finding:
    """Check that libvirt offers KVM guests with the QEMU of the host."""
    finding_id = f"{host.name}.kvm"
    try:
        architecture = host.guest_architecture
        host.libvirt.query_domain_capabilities(
            emulator=host.names.emulator,
            arch=architecture.value,
            machine=architecture.machine_type,
            virt_type="kvm",
        )
    except HostError as error:
        return Finding(
            finding_id,
            Severity.REFUSED,
            f"{host.name} cannot run KVM guests: {error.message}",
            remedy="load the module kvm_intel or kvm_amd, and switch on virtualization in the "
            "firmware. To test emulated guests, set `migqual_acceleration: tcg`",
        )
    return Finding(finding_id, Severity.OK, f"libvirt offers KVM guests with {host.names.emulator}")


def _check_libvirt(host: Host) -> tuple[Finding, HostIdentity | None]:
    finding_id = f"{host.name}.libvirt"
    try:
        versions, identity = host.query_versions(), host.libvirt.query_identity()
    except HostError as error:
        return Finding(finding_id, Severity.REFUSED, error.message, remedy=error.remedy), None
    message = f"libvirt {versions['libvirt']}, QEMU {versions['qemu']}"
    return Finding(finding_id, Severity.OK, message, figures=versions), identity


def _check_identities(
    inventory: Inventory, identities: Mapping[str, HostIdentity]
) -> Iterator[Finding]:
    """Yield a finding for each pair of hosts with the same UUID or the same host name."""
    for pair in inventory.lanes:
        source, destination = (identities.get(one.name) for one in (pair.source, pair.destination))
        if source is None or destination is None:
            continue
        if equal_part := source.find_equal_part(destination):
            yield Finding(
                f"{pair.destination.name}.identity",
                Severity.REFUSED,
                f"{pair.destination.name} and {pair.source.name} have the same {equal_part}: "
                "libvirt refuses a migration to the same host",
                remedy=EQUAL_IDENTITY_REMEDY,
            )
