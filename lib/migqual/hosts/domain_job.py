"""Start, query and abort the migration job of a domain, and query the block jobs of disks.

The functions raise `StackError` with libvirt's message, except where documented otherwise.
"""

from collections.abc import Mapping
from typing import Any

import libvirt

from migqual.hosts.domain import Domain
from migqual.model.job_stats import JobStats
from migqual.model.libvirt_call import MigrateFlag


def query_job_stats(domain: Domain) -> JobStats:
    """Query the statistics of the running job (virDomainGetJobStats).

    Returns:
        The statistics; empty without a running job, or when libvirt refuses the query.
    """
    try:
        return JobStats(dict(domain.raw.jobStats()))
    except libvirt.libvirtError:
        return JobStats()


def query_completed_job_stats(domain: Domain) -> JobStats:
    """Query the statistics of the last completed job (virDomainGetJobStats).

    libvirt keeps the statistics for later queries.

    Returns:
        The statistics; empty when libvirt has no statistics.
    """
    flags = libvirt.VIR_DOMAIN_JOB_STATS_COMPLETED | libvirt.VIR_DOMAIN_JOB_STATS_KEEP_COMPLETED
    try:
        return JobStats(dict(domain.raw.jobStats(flags)))
    except libvirt.libvirtError:
        return JobStats()


def query_block_job(domain: Domain, target: str) -> tuple[int, int] | None:
    """Query the block job of a disk (virDomainGetBlockJobInfo).

    Args:
        domain: The domain.
        target: Target name of the disk, for example `vda`.

    Returns:
        The processed bytes and the total bytes; None without a block job, or when libvirt
        refuses the query.
    """
    try:
        job_info = domain.raw.blockJobInfo(target, 0)
    except libvirt.libvirtError:
        return None
    return (int(job_info["cur"]), int(job_info["end"])) if job_info else None


def abort_job(domain: Domain) -> None:
    """Abort the running job (virDomainAbortJob).

    libvirt refuses the call during post-copy, before the start of the job and after the end.
    """
    domain.call_libvirt("abort the job", lambda d: d.abortJob())


def pause_postcopy(domain: Domain) -> None:
    """Break the connection of a migration in post-copy (virDomainAbortJobFlags, POSTCOPY).

    The migration does not end: it pauses until somebody resumes it.
    """
    domain.call_libvirt(
        "pause post-copy", lambda d: d.abortJobFlags(libvirt.VIR_DOMAIN_ABORT_JOB_POSTCOPY)
    )


def start_postcopy(domain: Domain) -> None:
    """Switch the running migration to post-copy (virDomainMigrateStartPostCopy)."""
    domain.call_libvirt("switch to post-copy", lambda d: d.migrateStartPostCopy())


def migrate_direct(
    domain: Domain,
    destination: Any,  # noqa: ANN401
    flags: MigrateFlag,
    parameters: Mapping[str, Any],
) -> Any:  # noqa: ANN401
    """Migrate the domain with virDomainMigrate3 and wait for the end of the migration.

    Args:
        domain: The domain at the source.
        destination: Connection to the destination, an object of the libvirt binding.
        flags: Migration flags.
        parameters: Typed parameters of libvirt by name.

    Returns:
        The domain at the destination, an object of the libvirt binding.

    Raises:
        StackError: libvirt or QEMU refuses the migration, or the migration fails.
    """
    return domain.call_libvirt(
        "migrate", lambda d: d.migrate3(destination, dict(parameters), int(flags))
    )


def migrate_peer_to_peer(
    domain: Domain, uri: str, flags: MigrateFlag, parameters: Mapping[str, Any]
) -> None:
    """Migrate the domain with virDomainMigrateToURI3 and wait for the end of the migration.

    Args:
        domain: The domain at the source.
        uri: libvirt URI with which the source connects to the destination.
        flags: Migration flags.
        parameters: Typed parameters of libvirt by name.

    Raises:
        StackError: libvirt or QEMU refuses the migration, or the migration fails.
    """
    domain.call_libvirt("migrate", lambda d: d.migrateToURI3(uri, dict(parameters), int(flags)))
