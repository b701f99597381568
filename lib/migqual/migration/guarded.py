"""Migrate a guest with the guard, the check that refuses an unsafe migration.

The module also creates the images at the destination for the disks that a migration copies.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from migqual.deadline import Deadline
from migqual.errors import HostError, TimedOut
from migqual.hosts.domain import DomainState
from migqual.hosts.guest import Guest
from migqual.hosts.host import Host
from migqual.migration import destination_images
from migqual.migration.job_sampler import OnSample
from migqual.migration.migrate import OnInterrupted, migrate
from migqual.model.outcome import Outcome
from migqual.model.plan import DestinationImages, Guard, Plan, StorageCopy
from migqual.preflight import collect
from migqual.preflight.checks import evaluate_storage_facts
from migqual.preflight.collect import MigrationRequest
from migqual.preflight.run import raise_if_refused
from migqual.probes.probe_context import ProbeContext
from migqual.step_times import time_step

DESTINATION_CLEANUP_SECONDS = 3.0  # for the destination to remove a guest that did not arrive


def migrate_guarded(
    guest: Guest,
    destination: Host,
    plan: Plan,
    probe_context: ProbeContext,
    *,
    on_sample: OnSample | None = None,
    on_interrupted: OnInterrupted | None = None,
) -> Outcome:
    """Migrate the guest, with the guard (the check that refuses an unsafe disk copy).

    If the plan copies disks, the function first runs the guard's storage checks and creates images
    at the destination. After an error, the function removes the created images only if the guest
    is certainly not at the destination.

    Args:
        guest: The guest to migrate.
        destination: The host to migrate to.
        plan: Options and limits of the migration.
        probe_context: Journal and payload paths for probes on the hosts.
        on_sample: Called with every job sample. The result `SampleAction.ABORT` aborts the
            migration.
        on_interrupted: Called if an error that is not a `MigrationError` ends the migration. The
            argument is the outcome so far.

    Returns:
        The outcome of the completed migration.

    Raises:
        GuardRefusal: The guard refused the migration. The hosts are unchanged.
        HostError: An image could not be created.
        MigrationError: The migration failed. See `migrate` for the subclasses.
        InconclusiveError: libvirt refused to abort the migration.

    Example:
        Migrate a guest together with its disks::

            payload = ensure_payload(paths.get_cache_folder(), print)
            hosts = (guest.host, destination)
            with staged_payload(hosts, journal, payload, ProbeMode.WRITING) as probe_context:
                plan = Plan(copy_storage=StorageCopy.ALL)
                outcome = migrate_guarded(guest, destination, plan, probe_context)
    """
    with prepare_destination_images(guest, destination, plan, probe_context), time_step("migrate"):
        return migrate(guest, destination, plan, on_sample=on_sample, on_interrupted=on_interrupted)


@contextmanager
def prepare_destination_images(
    guest: Guest, destination: Host, plan: Plan, probe_context: ProbeContext
) -> Iterator[None]:
    """Create images at the destination for the disks that the migration copies.

    If the guard is on in the plan, the guard first checks the storage. After the block, the images
    belong to the guest and are removed with the guest. After an error in the block, the function
    removes the images at once, but only if the guest is certainly not at the destination.

    Raises:
        GuardRefusal: The guard refused the migration because of the storage.
        HostError: An image could not be created.
    """
    if plan.copy_storage is StorageCopy.NONE:
        yield
        return
    if plan.guard is Guard.OFF and plan.destination_images is DestinationImages.EXISTING:
        yield
        return
    with time_step("check the storage and create images"):
        storage = collect.collect_storage_facts(
            MigrationRequest(guest.name, guest.host, destination, plan), probe_context
        )
        if plan.guard is Guard.ON:
            raise_if_refused(evaluate_storage_facts(storage))
        image_entries = destination_images.create_images(
            destination, destination_images.plan_images(storage), probe_context.journal
        )
    try:
        yield
    except BaseException:
        if _can_be_on_host(destination, guest):
            guest.add_journal_entries(image_entries)
        else:
            destination_images.remove_images(destination, image_entries, probe_context.journal)
        raise
    guest.add_journal_entries(image_entries)


def _can_be_on_host(host: Host, guest: Guest) -> bool:
    """Return whether the guest may be at the host after an error of the migration.

    After a failed migration, libvirt needs some time to remove the guest from the destination. The
    function waits up to 3 s. If the guest then remains, or the host is unreachable, the result is
    True: the guest may have arrived, although libvirt reported an error.
    """

    def has_left() -> bool:
        domain = host.libvirt.find_domain(guest.name)
        return domain is None or domain.query_state() in {DomainState.SHUT_OFF, DomainState.GONE}

    try:
        return not Deadline(DESTINATION_CLEANUP_SECONDS).wait_for(
            f"the stop of guest {guest.name} on {host.name}", has_left
        )
    except (HostError, TimedOut):
        return True
