"""Start a trial guest on both hosts of a pair, and let preflight check a migration of the guest."""

from collections.abc import Callable, Iterator
from dataclasses import replace

from migqual.errors import MigqualError
from migqual.hosts.host import Host
from migqual.inventory.entities import Inventory, PairEntry
from migqual.inventory.stores import StoreKind
from migqual.model.finding import Finding, Severity
from migqual.model.guest_spec import DiskSpec, GuestSpec
from migqual.preflight.run import run_preflight_checks
from migqual.testbed.connection import connect_testbed
from migqual.testbed.testbed import Testbed

# The profile decides whether a host may accept passwords, so the finding becomes a warning here.
TOLERATED_CHECKS = {"LM-PRE-05.password"}
SHARED_KINDS = (StoreKind.DIRECTORY, StoreKind.NBD, StoreKind.ISCSI)


def check_pair(inventory: Inventory, pair: PairEntry) -> Iterator[Finding]:
    """Start a trial guest on each host of a pair, run preflight, and yield the findings.

    The guest on the destination has no disks, and must answer the commands of migqual. The guest on
    the source has a disk on each kind of shared store. This guest must also reply to the probes
    of the client. Then preflight checks a migration of this guest to the destination.
    """
    kinds = {store.kind for store in inventory.stores}
    spec = GuestSpec(disks=tuple(DiskSpec(kind) for kind in SHARED_KINDS if kind in kinds))
    with connect_testbed(inventory, pair) as testbed:
        destination_finding = _check_guest(
            f"{pair.destination.name}.guest", lambda: _start_guest(testbed, testbed.destination)
        )
        yield destination_finding
        finding_id = f"{pair.source.name}.guest"
        try:
            guest = testbed.make_guest(spec)
        except MigqualError as error:
            yield _report_failure(finding_id, error)
            return
        yield Finding(finding_id, Severity.OK, f"a guest starts and answers on {pair.source.name}")
        findings = run_preflight_checks(
            guest.name, testbed.source, testbed.destination, testbed.probe_context
        )
        yield from (
            replace(finding, severity=Severity.WARNING)
            if finding.id in TOLERATED_CHECKS
            else finding
            for finding in findings
            if finding.severity in {Severity.REFUSED, Severity.UNKNOWN}
        )


def _start_guest(testbed: Testbed, host: Host) -> str:
    with testbed.provisioner.running_guest(GuestSpec(), host):
        return f"a guest starts and answers on {host.name}"


def _check_guest(finding_id: str, start_guest: Callable[[], str]) -> Finding:
    try:
        return Finding(finding_id, Severity.OK, start_guest())
    except MigqualError as error:
        return _report_failure(finding_id, error)


def _report_failure(finding_id: str, error: MigqualError) -> Finding:
    return Finding(
        finding_id,
        Severity.REFUSED,
        "the trial guest failed, so no guest of migqual runs on this host until this error is "
        f"solved: {error.message}",
        remedy=error.remedy or "read the log of libvirt and QEMU on the host",
    )
