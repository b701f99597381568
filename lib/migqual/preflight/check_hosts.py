"""Check the CPUs and SSH logins of both hosts, and the connections between both hosts.

The checks belong to the requirements LM-PRE-01, LM-PRE-05, LM-RES-09, LM-RES-10 and LM-RES-11. The
functions have no side effects.
"""

from collections.abc import Iterator

from migqual.hosts.host_identity import EQUAL_IDENTITY_REMEDY
from migqual.model.finding import Finding
from migqual.model.plan import Control
from migqual.preflight.facts import (
    ConnectionAttempt,
    ConnectionPurpose,
    HostCpu,
    MigrationFacts,
    SshLogin,
)
from migqual.preflight.findings import report_ok, report_refusal, report_unknown, report_warning
from migqual.probes.fact import Missing

_CONNECTION_REMEDIES = {
    ConnectionPurpose.CONTROL: "open the port of the libvirt URI in the firewalls of both hosts",
    ConnectionPurpose.DATA: "open the migration ports (49152-49215, or the range in qemu.conf) "
    "in the firewalls of both hosts",
    ConnectionPurpose.LIBVIRT: "allow root of each host to log in to the peer with an SSH key. To "
    "test the connection, run `virsh -c URI hostname` on each host with the URI of the peer",
}
# CPU modes in which the guest's CPU depends on the host's CPU
_HOST_CPU_MODES = {"host-passthrough", "host-model", "maximum"}


def check_control_port(facts: MigrationFacts) -> Iterator[Finding]:
    """Check whether each host reaches libvirt's port on the peer (LM-PRE-01.control)."""
    yield from _check_connections(
        facts, ConnectionPurpose.CONTROL, "LM-PRE-01.control", "libvirt's port"
    )


def check_data_port(facts: MigrationFacts) -> Iterator[Finding]:
    """Check whether each host reaches a migration port on the peer (LM-PRE-01.data)."""
    yield from _check_connections(
        facts, ConnectionPurpose.DATA, "LM-PRE-01.data", "a migration port"
    )


def check_peer_libvirt(facts: MigrationFacts) -> Iterator[Finding]:
    """Check whether each host can connect to libvirt of the peer (LM-PRE-01.libvirt).

    Only a peer-to-peer migration needs this connection.
    """
    finding_id = "LM-PRE-01.libvirt"
    if facts.plan.control is Control.DIRECT:
        yield report_ok(
            finding_id, "managed direct migration needs no libvirt connection between the hosts"
        )
    else:
        yield from _check_connections(facts, ConnectionPurpose.LIBVIRT, finding_id, "libvirt")


def _check_connections(
    facts: MigrationFacts, purpose: ConnectionPurpose, finding_id: str, service: str
) -> Iterator[Finding]:
    attempts = [attempt for attempt in facts.connection_attempts if attempt.purpose is purpose]
    failed_attempts = [attempt for attempt in attempts if attempt.succeeded is False]
    successful_attempts = [attempt for attempt in attempts if attempt.succeeded is True]
    figures = {
        f"{attempt.host}_to_{attempt.peer}": f"{attempt.endpoint}: {attempt.message or 'passed'}"
        for attempt in attempts
    }
    if failed_attempts:
        failure_list = "; ".join(
            f"{attempt.host} cannot connect to {attempt.peer} ({attempt.endpoint}): "
            f"{attempt.message}"
            for attempt in failed_attempts
        )
        yield report_refusal(
            finding_id,
            f"{service} cannot be reached: {failure_list}",
            _CONNECTION_REMEDIES[purpose],
            **figures,
        )
    elif len(successful_attempts) == 2:
        yield report_ok(finding_id, f"{service} can be reached in both directions", **figures)
    else:
        yield report_unknown(
            finding_id,
            f"cannot determine whether {service} can be reached in both directions",
            _find_missing(attempts),
        )


def _find_missing(attempts: list[ConnectionAttempt]) -> Missing:
    for attempt in attempts:
        if isinstance(attempt.succeeded, Missing):
            return attempt.succeeded
    return Missing("the connection was not tested in both directions")


def check_host_cpus(facts: MigrationFacts) -> Iterator[Finding]:
    """Check whether both hosts have the same CPU model (LM-RES-09.hosts).

    If the CPU models differ, the severity of the finding is usually `refused`. The severity is
    `warning` if two conditions are met: the guest's CPU does not depend on the host's CPU, and
    the destination offers the guest's CPU.
    """
    finding_id = "LM-RES-09.hosts"
    source_cpu, destination_cpu = facts.source.cpu, facts.destination.cpu
    if isinstance(source_cpu, Missing) or isinstance(destination_cpu, Missing):
        missing = source_cpu if isinstance(source_cpu, Missing) else destination_cpu
        if isinstance(missing, Missing):
            yield report_unknown(
                finding_id, "cannot determine whether both hosts have the same CPU model", missing
            )
        return
    comparison = facts.host_cpu_comparison
    comparison_text = (
        "not compared by libvirt" if isinstance(comparison, Missing) else " and ".join(comparison)
    )
    figures = {
        facts.source.name: source_cpu.signature,
        facts.destination.name: destination_cpu.signature,
        "compared": comparison_text,
    }
    libvirt_agrees = isinstance(comparison, Missing) or set(comparison) == {"identical"}
    if source_cpu.signature == destination_cpu.signature and libvirt_agrees:
        yield report_ok(
            finding_id, f"both hosts have the same CPU model: {source_cpu.model_name}", **figures
        )
    elif (
        facts.definition.cpu_mode not in _HOST_CPU_MODES
        and facts.destination_hypervisor.has_guest_cpu
    ):
        yield report_warning(
            finding_id,
            f"{_describe_cpu_difference(facts, source_cpu, destination_cpu)}; "
            "but both hosts offer the guest's CPU model, so the difference does not forbid the "
            "migration",
            "use a pair of hosts with the same CPU model",
            **figures,
        )
    else:
        yield report_refusal(
            finding_id,
            _describe_cpu_difference(facts, source_cpu, destination_cpu),
            "use hosts with the same CPU model, or give the guest a model that both hosts offer",
            **figures,
        )


def _describe_cpu_difference(
    facts: MigrationFacts, source_cpu: HostCpu, destination_cpu: HostCpu
) -> str:
    missing_flags = sorted(source_cpu.flags - destination_cpu.flags)
    difference = (
        f"the CPUs differ: {facts.source.name} has {source_cpu.model_name}, "
        f"{facts.destination.name} has {destination_cpu.model_name}"
    )
    if not missing_flags:
        return difference
    flag_list = ", ".join(missing_flags[:8])
    return f"{difference}; {facts.destination.name} does not have the CPU flags {flag_list}"


def check_guest_cpu(facts: MigrationFacts) -> Iterator[Finding]:
    """Check whether the destination offers the guest's CPU (LM-RES-09.guest)."""
    finding_id, comparison = "LM-RES-09.guest", facts.destination_hypervisor.cpu_comparison
    model = facts.definition.cpu_model or facts.definition.cpu_mode or "the default CPU"
    host = facts.destination.name
    if isinstance(comparison, Missing):
        yield report_unknown(
            finding_id,
            f"cannot determine whether {host} offers the guest's CPU, {model}",
            comparison,
        )
    elif facts.destination_hypervisor.has_guest_cpu:
        yield report_ok(finding_id, f"{host} offers the guest's CPU, {model}", compared=comparison)
    else:
        yield report_refusal(
            finding_id,
            f"{host} does not offer the guest's CPU, {model}: {comparison}",
            "use a destination that offers this CPU, or give the guest a CPU with fewer features",
            compared=comparison,
        )


def check_identities(facts: MigrationFacts) -> Iterator[Finding]:
    """Check whether the hosts have different UUIDs and host names (LM-PRE-01.identity)."""
    finding_id, source, destination = "LM-PRE-01.identity", facts.source, facts.destination
    if equal_part := source.identity.find_equal_part(destination.identity):
        yield report_refusal(
            finding_id,
            f"{source.name} and {destination.name} have the same {equal_part}: libvirt refuses "
            "a migration to the same host",
            EQUAL_IDENTITY_REMEDY,
        )
    else:
        yield report_ok(finding_id, "the hosts have different UUIDs and different host names")


def check_network_segments(facts: MigrationFacts) -> Iterator[Finding]:
    """Check whether the guest is on the same network segment on both hosts (LM-RES-10.segment)."""
    finding_id = "LM-RES-10.segment"
    if not facts.segments:
        yield report_ok(finding_id, "the guest has no network interface")
    for segment in facts.segments:
        bridge_label = segment.nic.source or segment.nic.type
        if isinstance(segment.frames_pass, Missing):
            yield report_unknown(
                finding_id,
                f"cannot determine whether {bridge_label} is the same network segment on "
                "both hosts",
                segment.frames_pass,
            )
        elif segment.frames_pass:
            yield report_ok(
                finding_id,
                f"frames pass in both directions between {bridge_label} on {facts.source.name} "
                f"and the bridge on {facts.destination.name}",
            )
        else:
            yield report_refusal(
                finding_id,
                f"{bridge_label} is not the same network segment on both hosts: "
                f"frames do not pass between {facts.source.name} and {facts.destination.name}",
                "connect the guest's bridges of both hosts to the same layer-2 network",
            )


def check_cpu_count(facts: MigrationFacts) -> Iterator[Finding]:
    """Check whether the destination has a CPU for each vCPU of the guest (LM-RES-11.cpus).

    Too few CPUs are a warning: the guest runs slower at the destination.
    """
    finding_id, needed_cpus, available_cpus = (
        "LM-RES-11.cpus",
        facts.definition.vcpus,
        facts.destination.cpu_count,
    )
    message = (
        f"the guest has {needed_cpus} vCPUs, and {facts.destination.name} has {available_cpus} CPUs"
    )
    if available_cpus >= needed_cpus:
        yield report_ok(finding_id, message, needed=needed_cpus, available=available_cpus)
    else:
        remedy = "choose a destination with more CPUs: with too few CPUs, the guest runs slower"
        yield report_warning(
            finding_id, message, remedy, needed=needed_cpus, available=available_cpus
        )


def check_key_login(login: SshLogin) -> Iterator[Finding]:
    """Check whether the host accepts the SSH key of the inventory (LM-PRE-05.key)."""
    finding_id, accepted = "LM-PRE-05.key", login.accepts_inventory_key
    if isinstance(accepted, Missing):
        yield report_unknown(
            finding_id,
            f"cannot determine whether {login.host} accepts the inventory's SSH key",
            accepted,
        )
    elif accepted:
        yield report_ok(finding_id, f"{login.host} accepts the inventory's SSH key")
    else:
        remedy = (
            f"add the inventory's public key to authorized_keys on {login.host}, and the host key "
            f"of {login.host} to the known_hosts file"
        )
        yield report_refusal(
            finding_id, f"SSH login to {login.host} was refused: {login.key_refusal}", remedy
        )


def check_password_login(login: SshLogin) -> Iterator[Finding]:
    """Check whether the host refuses SSH logins without a key (LM-PRE-05.password)."""
    finding_id, methods = "LM-PRE-05.password", login.keyless_methods
    if isinstance(methods, Missing):
        yield report_unknown(
            finding_id, f"cannot determine whether {login.host} accepts SSH passwords", methods
        )
    elif methods & {"password", "keyboard-interactive", "none"}:
        offered_methods = ", ".join(sorted(methods))
        yield report_refusal(
            finding_id,
            f"{login.host} offers SSH logins without a key: {offered_methods}",
            f"set PasswordAuthentication no and KbdInteractiveAuthentication no in sshd_config on "
            f"{login.host}",
            offered=offered_methods,
        )
    else:
        yield report_ok(finding_id, f"{login.host} accepts no SSH password")


def check_wrong_key(login: SshLogin) -> Iterator[Finding]:
    """Check whether the host refuses an unknown SSH key (LM-PRE-05.wrong-key)."""
    finding_id, accepted = "LM-PRE-05.wrong-key", login.accepts_wrong_key
    if isinstance(accepted, Missing):
        yield report_unknown(
            finding_id, f"cannot determine whether {login.host} refuses unknown SSH keys", accepted
        )
    elif accepted:
        yield report_refusal(
            finding_id,
            f"{login.host} accepted an SSH key that was generated for this check",
            f"check AuthorizedKeysCommand and PAM of the SSH server on {login.host}",
        )
    else:
        yield report_ok(finding_id, f"{login.host} refuses an unknown SSH key")


def check_unknown_host_key(login: SshLogin) -> Iterator[Finding]:
    """Check whether migqual refuses to log in when the host key is unknown (LM-PRE-05.host-key)."""
    finding_id, accepted = "LM-PRE-05.host-key", login.accepts_unknown_host_key
    if isinstance(accepted, Missing):
        yield report_unknown(
            finding_id,
            f"cannot determine whether migqual checks the host key of {login.host}",
            accepted,
        )
    elif accepted:
        yield report_refusal(
            finding_id,
            f"migqual logged in to {login.host} although the host key was unknown",
            "remove the SSH settings that override the known_hosts file of the inventory",
        )
    else:
        yield report_ok(
            finding_id, f"migqual refuses to log in to {login.host} if the host key is unknown"
        )
