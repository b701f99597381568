"""The table of checks, and the pure step from facts to findings."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from migqual.model.finding import Finding
from migqual.preflight import (
    check_guest,
    check_hosts,
    check_resources,
    check_safety,
    check_storage,
)
from migqual.preflight.facts import Facts, Login, Missing, Seen, Storage
from migqual.preflight.verdicts import unknown


@dataclass(frozen=True)
class Check:
    """One check: the id of its findings (LM-SHR-01 adds the disk's target), and the function."""

    id: str
    judge: Callable[[Seen], Iterable[Finding]]


@dataclass(frozen=True)
class StorageCheck:
    """A check that the disks of a move are enough for."""

    id: str
    judge: Callable[[Storage], Iterable[Finding]]


LOGIN_CHECKS: tuple[Callable[[Login], Iterable[Finding]], ...] = (
    check_hosts.key,
    check_hosts.password,
    check_hosts.wrong_key,
    check_hosts.host_key,
)

CHECKS: tuple[Check, ...] = (
    Check("LM-PRE-01.control", check_hosts.control_port),
    Check("LM-PRE-01.data", check_hosts.data_port),
    Check("LM-PRE-01.libvirt", check_hosts.libvirt),
    Check("LM-PRE-02.network", check_resources.network),
    Check("LM-PRE-03.running", check_guest.running),
    Check("LM-PRE-03.job", check_guest.job),
    Check("LM-PRE-03.agent", check_guest.agent),
    Check("LM-PRE-03.disks", check_guest.disks),
    Check("LM-PRE-03.devices", check_guest.devices),
    Check("LM-PRE-04.cpu", check_resources.cpu),
    Check("LM-PRE-04.memory", check_resources.memory),
    Check("LM-RES-09.hosts", check_hosts.host_cpus),
    Check("LM-RES-09.guest", check_hosts.guest_cpu),
    Check("LM-RES-10.segment", check_hosts.segment),
    Check("LM-RES-11.cpus", check_hosts.cpus),
)

STORAGE_CHECKS: tuple[StorageCheck, ...] = (
    StorageCheck("LM-SHR-01", check_storage.classes),
    StorageCheck("LM-SHR-02.safety", check_safety.trusted),
    StorageCheck("LM-PRE-02.storage", check_storage.reached),
    StorageCheck("LM-PRE-04.storage", check_storage.room),
    StorageCheck("LM-NSS-01.image", check_storage.identical),
    StorageCheck("LM-NSS-02.shareable", check_storage.shareable),
    StorageCheck("LM-NSS-03.file", check_storage.no_device),
    StorageCheck("LM-NSS-04.size", check_storage.size),
    StorageCheck("LM-NSS-05.count", check_storage.count),
    StorageCheck("LM-NSS-06.set", check_storage.hybrid),
    StorageCheck("LM-LOC-01.image", check_storage.image),
    StorageCheck("LM-LOC-02.disks", check_storage.named),
)


def run_checks(facts: Facts) -> tuple[Finding, ...]:
    """Every check over the facts. What a closed door hides is unknown, check by check."""
    logins = [
        finding for login in facts.logins for check in LOGIN_CHECKS for finding in check(login)
    ]
    if isinstance(facts.seen, Missing):
        closed = facts.seen
        ids = [check.id for check in CHECKS] + [check.id for check in STORAGE_CHECKS]
        return (*logins, *(unknown(id_, "nothing of this", closed) for id_ in ids))
    seen = facts.seen
    rest = [finding for check in CHECKS for finding in check.judge(seen)]
    return (*logins, *rest, *run_storage_checks(seen.storage))


def run_storage_checks(storage: Storage) -> tuple[Finding, ...]:
    """The checks of the disks alone."""
    return tuple(finding for check in STORAGE_CHECKS for finding in check.judge(storage))
