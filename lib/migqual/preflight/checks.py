"""List all preflight checks, and evaluate collected facts with the checks. No side effects."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from migqual.model.finding import Finding
from migqual.preflight import (
    check_copied_disks,
    check_destination_images,
    check_guest,
    check_hosts,
    check_libvirt_safety,
    check_resources,
    check_storage,
)
from migqual.preflight.facts import MigrationFacts, PreflightFacts, SshLogin
from migqual.preflight.findings import report_unknown
from migqual.preflight.storage_facts import StorageFacts
from migqual.probes.fact import Missing


@dataclass(frozen=True)
class Check:
    """A preflight check that evaluates `MigrationFacts`.

    Attributes:
        id: Id of the check's findings.
        evaluate: Function that computes the findings from the facts.
    """

    id: str
    evaluate: Callable[[MigrationFacts], Iterable[Finding]]


@dataclass(frozen=True)
class StorageCheck:
    """A preflight check that evaluates `StorageFacts`, the facts about disks.

    Attributes:
        id: Id of the check's findings. LM-SHR-01 appends the disk's target to the id.
        evaluate: Function that computes the findings from the facts.
    """

    id: str
    evaluate: Callable[[StorageFacts], Iterable[Finding]]


LOGIN_CHECKS: tuple[Callable[[SshLogin], Iterable[Finding]], ...] = (
    check_hosts.check_key_login,
    check_hosts.check_password_login,
    check_hosts.check_wrong_key,
    check_hosts.check_unknown_host_key,
)

CHECKS: tuple[Check, ...] = (
    Check("LM-PRE-01.control", check_hosts.check_control_port),
    Check("LM-PRE-01.data", check_hosts.check_data_port),
    Check("LM-PRE-01.libvirt", check_hosts.check_peer_libvirt),
    Check("LM-PRE-01.identity", check_hosts.check_identities),
    Check("LM-PRE-02.network", check_resources.check_guest_bridges),
    Check("LM-PRE-03.running", check_guest.check_guest_running),
    Check("LM-PRE-03.job", check_guest.check_active_job),
    Check("LM-PRE-03.agent", check_guest.check_agent_response),
    Check("LM-PRE-03.disks", check_guest.check_disk_errors),
    Check("LM-PRE-03.snapshots", check_guest.check_snapshots),
    Check("LM-PRE-03.devices", check_guest.check_migration_blockers),
    Check("LM-PRE-04.cpu", check_resources.check_vcpu_limit),
    Check("LM-PRE-04.memory", check_resources.check_available_memory),
    Check("LM-RES-09.hosts", check_hosts.check_host_cpus),
    Check("LM-RES-09.guest", check_hosts.check_guest_cpu),
    Check("LM-RES-10.segment", check_hosts.check_network_segments),
    Check("LM-RES-11.cpus", check_hosts.check_cpu_count),
)

STORAGE_CHECKS: tuple[StorageCheck, ...] = (
    StorageCheck("LM-SHR-01", check_storage.check_disk_locations),
    StorageCheck("LM-SHR-02.safety", check_libvirt_safety.check_libvirt_safety),
    StorageCheck("LM-PRE-02.storage", check_storage.check_disk_reachability),
    StorageCheck("LM-PRE-04.storage", check_storage.check_free_space),
    StorageCheck("LM-NSS-01.image", check_copied_disks.check_copy_onto_itself),
    StorageCheck("LM-NSS-02.shareable", check_copied_disks.check_shareable_disks),
    StorageCheck("LM-NSS-03.file", check_destination_images.check_destination_is_file),
    StorageCheck("LM-NSS-04.size", check_destination_images.check_image_sizes),
    StorageCheck("LM-NSS-05.count", check_copied_disks.check_disk_count),
    StorageCheck("LM-NSS-06.set", check_copied_disks.check_disk_selection),
    StorageCheck("LM-LOC-01.image", check_destination_images.check_destination_images),
    StorageCheck("LM-LOC-02.disks", check_copied_disks.check_disk_names),
)


def evaluate_facts(facts: PreflightFacts) -> tuple[Finding, ...]:
    """Evaluate the facts with every check.

    Returns:
        The findings of `LOGIN_CHECKS`, then of `CHECKS`, then of `STORAGE_CHECKS`. If the
        migration facts are missing, each check in `CHECKS` and `STORAGE_CHECKS` has one finding of
        severity `unknown`.
    """
    login_findings = [
        finding for login in facts.logins for check in LOGIN_CHECKS for finding in check(login)
    ]
    if isinstance(facts.migration, Missing):
        missing = facts.migration
        finding_ids = [check.id for check in CHECKS] + [check.id for check in STORAGE_CHECKS]
        return (
            *login_findings,
            *(
                report_unknown(
                    finding_id, "preflight could not collect the facts for this check", missing
                )
                for finding_id in finding_ids
            ),
        )
    migration_facts = facts.migration
    migration_findings = [
        finding for check in CHECKS for finding in check.evaluate(migration_facts)
    ]
    return (*login_findings, *migration_findings, *evaluate_storage_facts(migration_facts.storage))


def evaluate_storage_facts(storage: StorageFacts) -> tuple[Finding, ...]:
    """Return the findings of `STORAGE_CHECKS` for the facts about the disks."""
    return tuple(finding for check in STORAGE_CHECKS for finding in check.evaluate(storage))
