"""LM-PRE-03: only a healthy guest is migrated."""

from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack

import pytest

from fixtures.plugins.preflight import PreflightRunner
from fixtures.plugins.stack_messages import RecordStackMessage
from migqual.deadline import Deadline
from migqual.errors import MigrationAborted, MigrationRefused
from migqual.hosts.guest import Guest
from migqual.hosts.pid_file import build_stop_command
from migqual.inventory.stores import StoreKind
from migqual.migration.job_sampler import SampleAction
from migqual.model.finding import Finding, Severity
from migqual.model.guest_spec import DiskFormat, DiskSpec, GuestSpec
from migqual.model.outcome import JobSample
from migqual.model.plan import Plan
from migqual.testbed.testbed import Testbed

DELETE_METADATA_ONLY = 2  # VIR_DOMAIN_SNAPSHOT_DELETE_METADATA_ONLY
SHARED_MEMORY_XML = (
    "<shmem name='NAME'><model type='ivshmem-plain'/><size unit='M'>4</size></shmem>"
)
# The script stops the agent process for 3.5 s. Before the stop, a pause of 0.2 s lets the agent
# reply to the command that started the script.
STOP_AGENT_SCRIPT = "usleep 200000; kill -STOP $0; usleep 3500000; kill -CONT $0"


@pytest.mark.requirement("LM-PRE-03")
def test_paused_guest(run_preflight: PreflightRunner, shared_idle_guest: Guest) -> None:
    """
    A paused guest is not ready for a live migration.

    Preconditions: the guest is suspended.
    Expected: preflight refuses, and the finding names the state. The check of the guest agent is
    unknown, because a paused guest does not answer.
    """
    shared_idle_guest.domain.suspend()
    try:
        findings = run_preflight(shared_idle_guest.name)
    finally:
        shared_idle_guest.domain.resume()

    assert findings["LM-PRE-03.running"].severity is Severity.REFUSED
    assert "paused" in findings["LM-PRE-03.running"].message
    assert findings["LM-PRE-03.agent"].severity is Severity.UNKNOWN


@pytest.mark.requirement("LM-PRE-03")
def test_unresponsive_agent(run_preflight: PreflightRunner, shared_idle_guest: Guest) -> None:
    """
    Preflight sends a request to the guest agent, and refuses a guest whose agent does not answer.

    Preconditions: the process of the agent is stopped.
    Expected: preflight refuses within a few seconds.
    """
    shared_idle_guest.domain.run_agent_command(
        "guest-exec",
        path="/bin/sh",
        arg=[
            "-c",
            "exec sh -c \"$1\" $(ps | grep '[q]emu-ga' | sed 's/^ *//;s/ .*//')",
            "-",
            STOP_AGENT_SCRIPT,
        ],
    )
    check_id = "LM-PRE-03.agent"
    try:
        finding = Deadline(3).wait_for(
            "the guest agent to stop answering",
            lambda: (
                agent_finding
                if (agent_finding := run_preflight(shared_idle_guest.name)[check_id]).severity
                is not Severity.OK
                else None
            ),
        )
    finally:
        shared_idle_guest.wait_for_agent(Deadline(10))

    assert finding.severity is Severity.REFUSED


@pytest.mark.requirement("LM-PRE-03")
def test_job_in_progress(run_preflight: PreflightRunner, testbed: Testbed) -> None:
    """
    A guest cannot be migrated a second time during a migration.

    Preconditions: a slow migration runs.
    Expected: preflight refuses because of the active job.
    """
    guest = testbed.make_guest(GuestSpec())
    preflight_runs: list[Future[Mapping[str, Finding]]] = []

    with ThreadPoolExecutor(1) as pool:

        def run_preflight_on_sample(_sample: JobSample) -> SampleAction | None:
            if not preflight_runs:
                preflight_runs.append(pool.submit(run_preflight, guest.name))
            return SampleAction.ABORT if preflight_runs[0].done() else None

        with pytest.raises(MigrationAborted):
            testbed.migrate(guest, Plan(bandwidth_mib_s=1), on_sample=run_preflight_on_sample)

    assert preflight_runs[0].result()["LM-PRE-03.job"].severity is Severity.REFUSED


@pytest.mark.requirement("LM-PRE-03")
def test_disk_with_errors(run_preflight: PreflightRunner, testbed: Testbed) -> None:
    """
    A guest whose disk reports I/O errors is refused.

    Preconditions: the server of the guest's disk ends while the guest writes.
    Expected: preflight refuses. The finding names the disk and the number of failed operations.
    """
    spec = GuestSpec(disks=(DiskSpec(StoreKind.NBD),))
    with testbed.provisioner.running_guest(spec, testbed.source) as guest:
        server = testbed.provisioner.hosts[guest.volumes[0].host]
        server.shell.run(*build_stop_command(guest.volumes[0].path.with_suffix(".pid")))
        finding = Deadline(10).wait_for(
            "a disk error to be reported",
            lambda: (
                disk_finding
                if (disk_finding := run_preflight(guest.name)["LM-PRE-03.disks"]).figures
                else None
            ),
        )

    assert finding.severity is Severity.REFUSED
    assert "failed" in str(finding.figures["vda"])


@pytest.mark.requirement("LM-PRE-03")
def test_guest_with_a_snapshot(
    run_preflight: PreflightRunner, testbed: Testbed, record_stack_message: RecordStackMessage
) -> None:
    """
    A guest with a snapshot is found before libvirt refuses its migration.

    Preconditions: the guest has an internal snapshot, which is in the disk image.
    Expected: preflight refuses, and the finding names the snapshot. Without preflight libvirt
    refuses the migration. After the remedy (only the metadata is removed) the guest migrates.
    """
    spec = GuestSpec(disks=(DiskSpec(StoreKind.DIRECTORY, DiskFormat.QCOW2),))
    guest = testbed.make_guest(spec)
    plan = Plan(safety=testbed.choose_safety(spec))
    domain = guest.domain
    domain.call_libvirt(
        "create a snapshot",
        lambda d: d.snapshotCreateXML("<domainsnapshot><name>before</name></domainsnapshot>"),
    )

    finding = run_preflight(guest.name)["LM-PRE-03.snapshots"]
    with pytest.raises(MigrationRefused) as refusal:
        testbed.migrate(guest, plan)

    assert finding.severity is Severity.REFUSED
    assert "before" in finding.message
    record_stack_message("snapshots", refusal.value.message)
    domain.call_libvirt(
        "remove the metadata of the snapshot",
        lambda d: d.snapshotLookupByName("before").delete(DELETE_METADATA_ONLY),
    )
    testbed.migrate(guest, plan)


@pytest.mark.requirement("LM-PRE-03")
def test_non_migratable_device(run_preflight: PreflightRunner, testbed: Testbed) -> None:
    """
    A device without migration support is found before the migration fails.

    Preconditions: the guest has a device that shares memory with the host.
    Expected: preflight refuses. The finding names the device.
    """
    with ExitStack() as stack:
        guest = testbed.provisioner.boot_guest(GuestSpec(), testbed.source)
        stack.callback(testbed.provisioner.remove_guest, guest)
        memory_file = f"/dev/shm/{guest.name}"  # noqa: S108 - libvirt does not remove it
        undo_commands = [("rm", "-f", "--", memory_file)]
        guest.journal_entries.append(
            testbed.provisioner.journal.record(
                testbed.source.name, "file", memory_file, undo_commands
            )
        )
        xml = guest.domain.read_migratable_xml().replace(
            "</devices>", f"{SHARED_MEMORY_XML}</devices>"
        )
        guest.domain.destroy()
        testbed.source.libvirt.define_domain(xml.replace("NAME", guest.name)).start()
        findings = run_preflight(guest.name)

    finding = findings["LM-PRE-03.devices"]
    assert finding.severity is Severity.REFUSED
    assert "shmem" in finding.message
