"""Collect the facts for preflight from the source and the destination, in parallel."""

from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import chain

from migqual.errors import UsageError
from migqual.hosts import domain_definition
from migqual.hosts.domain import Domain
from migqual.hosts.domain_definition import Disk, DomainDefinition, Nic
from migqual.hosts.host import Host
from migqual.inventory.entities import HostEntry
from migqual.model.plan import Plan
from migqual.preflight import host_facts, network_probes
from migqual.preflight.disk_prober import DiskProber
from migqual.preflight.facts import (
    ConnectionAttempt,
    MigrationFacts,
    PreflightFacts,
    SshLogin,
)
from migqual.preflight.guest_health import collect_guest_health
from migqual.preflight.storage_facts import StorageFacts
from migqual.probes.fact import Fact, Missing, fact_or_missing
from migqual.probes.probe_context import ProbeContext

# sshd allows ten sessions per connection; a probe uses at most two
_WORKERS = 5


@dataclass(frozen=True)
class MigrationRequest:
    """A requested migration that preflight checks.

    Attributes:
        guest: Name of the domain.
        plan: Settings of the migration.
        known_logins: Results of login attempts of earlier requests, by host. `collect_facts` does
            not repeat these attempts, because a server may answer repeated attempts with
            penalties. `collect_facts` adds the results of new attempts.
    """

    guest: str
    source: Host
    destination: Host
    plan: Plan
    known_logins: dict[HostEntry, SshLogin] = field(default_factory=dict)

    @property
    def hosts(self) -> tuple[Host, Host]:
        """Return the source and the destination."""
        return self.source, self.destination


def collect_facts(request: MigrationRequest, probe_context: ProbeContext) -> PreflightFacts:
    """Collect all facts about a requested migration.

    Args:
        request: The migration.
        probe_context: Helper program, journal and mode (writing or read-only) of the probes.

    Returns:
        The facts. The field `migration` is `Missing` when a host refuses the SSH login, or when
        libvirt of a host does not answer.

    Raises:
        UsageError: The source has no domain with the requested name.
    """
    with ThreadPoolExecutor(_WORKERS) as pool, ThreadPoolExecutor(_WORKERS) as probe_pool:
        connection_tests = [
            pool.submit(fact_or_missing, lambda host=host: host.shell.run("true"))
            for host in request.hosts
        ]
        login_probes = {
            host.entry: pool.submit(host_facts.probe_ssh_login, host)
            for host in request.hosts
            if host.entry not in request.known_logins
        }
        connection_failures = [
            failure
            for connection_test in connection_tests
            if isinstance(failure := connection_test.result(), Missing)
        ]
        migration_facts: Fact[MigrationFacts]
        migration_facts = (
            connection_failures[0]
            if connection_failures
            else fact_or_missing(
                lambda: _collect_migration_facts(request, probe_context, pool, probe_pool)
            )
        )
        logins = {entry: login_probe.result() for entry, login_probe in login_probes.items()}
        logins = request.known_logins | logins
        request.known_logins.update(
            {entry: login for entry, login in logins.items() if login.is_complete}
        )
        return PreflightFacts(tuple(logins[host.entry] for host in request.hosts), migration_facts)


def _collect_migration_facts(
    request: MigrationRequest,
    probe_context: ProbeContext,
    pool: ThreadPoolExecutor,
    probe_pool: ThreadPoolExecutor,
) -> MigrationFacts:
    """Collect the facts about the guest, both hosts and the connections between the hosts.

    Slow probes start first, so that the collection takes less time.

    Raises:
        HostError: libvirt of a host does not answer.
        UsageError: The source has no domain with the requested name.
    """
    domain = _find_domain(request)
    definition = domain_definition.parse_domain_xml(domain.read_live_xml())
    connection_probes = _submit_connection_probes(request, probe_context, pool)
    prober = _create_disk_prober(request, probe_context, probe_pool)
    disk_probes = [pool.submit(prober.probe_disk, disk) for disk in _list_probed_disks(definition)]
    segment_probes = [
        pool.submit(network_probes.probe_network_segment, nic, *request.hosts, probe_context)
        for nic in _list_distinct_nics(definition)
    ]
    health_probe = pool.submit(collect_guest_health, domain, definition, probe_context.mode)
    host_probes = [
        pool.submit(host_facts.collect_host_facts, host, definition.hugepage_kib)
        for host in request.hosts
    ]
    hypervisor_probe = pool.submit(
        host_facts.query_hypervisor_facts, request.source, request.destination, definition
    )
    cpu_probe = pool.submit(fact_or_missing, lambda: host_facts.compare_host_cpus(*request.hosts))
    return MigrationFacts(
        guest=request.guest,
        plan=request.plan,
        definition=definition,
        health=health_probe.result(),
        source=host_probes[0].result(),
        destination=host_probes[1].result(),
        destination_hypervisor=hypervisor_probe.result(),
        host_cpu_comparison=cpu_probe.result(),
        disks=tuple(disk.result() for disk in disk_probes),
        connection_attempts=tuple(
            chain.from_iterable(probe.result() for probe in connection_probes)
        ),
        segments=tuple(segment_probe.result() for segment_probe in segment_probes),
        destination_targets=_list_destination_targets(request.plan),
    )


def collect_storage_facts(request: MigrationRequest, probe_context: ProbeContext) -> StorageFacts:
    """Collect only the facts about the disks of the guest.

    The guard, which refuses an unsafe copy of a disk, needs no other facts.

    Raises:
        UsageError: The source has no domain with the requested name.
        HostError: libvirt of the source does not answer.
    """
    definition = domain_definition.parse_domain_xml(_find_domain(request).read_live_xml())
    with ThreadPoolExecutor(_WORKERS) as pool, ThreadPoolExecutor(_WORKERS) as probe_pool:
        prober = _create_disk_prober(request, probe_context, probe_pool)
        disks = pool.map(prober.probe_disk, _list_probed_disks(definition))
        return StorageFacts(
            request.source.name,
            request.destination.name,
            request.plan,
            tuple(disks),
            tuple(disk.target for disk in definition.disks),
            _list_destination_targets(request.plan),
        )


def _create_disk_prober(
    request: MigrationRequest, probe_context: ProbeContext, probe_pool: ThreadPoolExecutor
) -> DiskProber:
    destination_disks = _parse_destination_disks(request.plan)
    return DiskProber(
        request.source, request.destination, probe_context, probe_pool, destination_disks
    )


def _list_destination_targets(plan: Plan) -> tuple[str, ...] | None:
    """List the disk targets in `plan.destination_xml`; return None if the plan has no such XML."""
    return None if plan.destination_xml is None else tuple(_parse_destination_disks(plan))


def _parse_destination_disks(plan: Plan) -> dict[str, Disk]:
    """Return the disks in `plan.destination_xml` by target. Without the XML, the dict is empty."""
    if plan.destination_xml is None:
        return {}
    return {
        disk.target: disk for disk in domain_definition.parse_domain_xml(plan.destination_xml).disks
    }


def _find_domain(request: MigrationRequest) -> Domain:
    domain = request.source.libvirt.find_domain(request.guest)
    if domain is None:
        names = ", ".join(sorted(request.source.libvirt.list_domain_states())) or "none"
        raise UsageError(
            f"{request.source.name} has no guest {request.guest!r}",
            remedy=f"choose a guest of {request.source.name}: {names}",
        )
    return domain


def _submit_connection_probes(
    request: MigrationRequest, probe_context: ProbeContext, pool: ThreadPoolExecutor
) -> list[Future[tuple[ConnectionAttempt, ...]]]:
    """Start the connection probes in both directions between the hosts; return the futures."""
    source, destination = request.hosts
    return [
        pool.submit(_probe_connections, host, peer, probe_context)
        for host, peer in ((source, destination), (destination, source))
    ]


def _probe_connections(
    host: Host, peer: Host, probe_context: ProbeContext
) -> tuple[ConnectionAttempt, ...]:
    return (
        *network_probes.probe_libvirt_connection(host, peer, probe_context),
        network_probes.probe_data_port(host, peer, probe_context),
    )


def _list_distinct_nics(definition: DomainDefinition) -> list[Nic]:
    """List the guest's network interfaces, but only one for each bridge or network."""
    return list({(nic.type, nic.source): nic for nic in definition.nics}.values())


def _list_probed_disks(definition: DomainDefinition) -> list[Disk]:
    """List the disks to probe: all except CD-ROM and floppy drives without a medium."""
    return [
        disk for disk in definition.disks if disk.source or disk.device not in {"cdrom", "floppy"}
    ]
