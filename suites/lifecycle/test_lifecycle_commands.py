"""LM-RES-03: life-cycle commands for a guest that migrates."""

from pathlib import PurePosixPath

import pytest

from fixtures.plugins.guests import RecordFigures
from fixtures.plugins.operator_commands import RecordCommands
from migqual.deadline import Deadline
from migqual.errors import MigrationError
from migqual.hosts.domain import DomainState
from migqual.hosts.guest import Guest
from migqual.hosts.host import Host
from migqual.inventory.stores import StoreKind
from migqual.model.guest_spec import DiskFormat, DiskSpec, GuestSpec
from migqual.model.migration_phase import MigrationPhase
from migqual.model.plan import Plan
from migqual.testbed.testbed import Testbed, raise_violations
from suites.support.operator_commands import open_command_folder, run_commands_during_migration

BOOT_SECONDS = 60.0
BACKUP_FILE = "backup.xml"
GUEST_SPEC = GuestSpec(disks=(DiskSpec(StoreKind.DIRECTORY, DiskFormat.QCOW2),))


@pytest.mark.requirement("LM-RES-03")
def test_lifecycle_commands_do_not_disturb_the_migration(
    testbed: Testbed, record_commands: RecordCommands
) -> None:
    """
    No life-cycle command at either host disturbs a guest that migrates.

    Preconditions: the migration is in the first iteration over guest memory. An operator gives all
    commands at once. At the source: another migration, save, managed save, core dump, snapshot,
    checkpoint, backup, block copy, start, rename, resume. At the destination: start, suspend,
    resume, reset, managed save, abort of the job.
    Expected: libvirt refuses every command, the migration is still in the same phase, and no
    command has left a file. Then the migration completes, and the guest is intact.
    """
    guest = testbed.make_guest(GUEST_SPEC)
    plan = Plan(safety=testbed.choose_safety(GUEST_SPEC))

    with open_command_folder(testbed, guest) as folder:
        backup = f"<domainbackup><disks>{build_backup_disk(folder)}</disks></domainbackup>"
        testbed.source.shell.upload_file(backup.encode(), folder / BACKUP_FILE)
        commanded = run_commands_during_migration(
            testbed,
            guest,
            plan,
            at_source=build_lifecycle_commands(guest, testbed.destination, folder),
            at_destination={
                command: (command, guest.name)
                for command in ("start", "suspend", "resume", "reset", "managedsave", "domjobabort")
            },
        )
        files = testbed.source.shell.run("ls", "-A", "--", folder).stdout.split()

    record_commands(commanded.commands)
    raise_violations(commanded.migration.violations)
    assert commanded.migration.error is None
    assert commanded.phase is MigrationPhase.FIRST_ITERATION
    assert commanded.accepted_commands == []
    assert files == [BACKUP_FILE]
    assert guest.host is testbed.destination


def build_backup_disk(folder: PurePosixPath) -> str:
    """Build the XML of a backup of the disk `vda` to a file in the folder."""
    target = f"<target file='{folder}/backup.qcow2'/>"
    return f"<disk name='vda' type='file'>{target}</disk>"


def build_lifecycle_commands(
    guest: Guest, destination: Host, folder: PurePosixPath
) -> dict[str, tuple[str, ...]]:
    """Build the `virsh` arguments of each life-cycle command at the source, by command name.

    The paths in the arguments are files in `folder`, for example the image of the snapshot.
    """
    name = guest.name
    return {
        "migrate": ("migrate", name, destination.entry.peer_uri, "--live", "--p2p", "--unsafe"),
        "save": ("save", name, f"{folder}/saved"),
        "managedsave": ("managedsave", name),
        "dump": ("dump", name, f"{folder}/core", "--memory-only"),
        "snapshot-create-as": (
            *("snapshot-create-as", name, "mq", "--disk-only", "--no-metadata"),
            *("--diskspec", f"vda,file={folder}/overlay.qcow2"),
        ),
        "checkpoint-create-as": ("checkpoint-create-as", name, "mq"),
        "backup-begin": ("backup-begin", name, f"{folder}/{BACKUP_FILE}"),
        "blockcopy": ("blockcopy", name, "vda", f"{folder}/copy.qcow2"),
        "start": ("start", name),
        "domrename": ("domrename", name, f"{name}-renamed"),
        "resume": ("resume", name),
    }


@pytest.mark.requirement("LM-RES-03")
def test_suspended_guest_arrives_once(
    testbed: Testbed, record_commands: RecordCommands, record_figures: RecordFigures
) -> None:
    """
    A guest that an operator suspends during the migration is on one host afterwards.

    Preconditions: the migration is in the first iteration over guest memory.
    Expected: libvirt accepts or refuses the command, and the migration completes. The guest is at
    the destination only, running or suspended. Memory and TCP session are intact.
    """
    guest = testbed.make_guest(GuestSpec())

    commanded = run_commands_during_migration(
        testbed, guest, Plan(), at_source={"suspend": ("suspend", guest.name)}
    )

    states = guest.query_states_by_host(testbed.hosts)
    record_commands(commanded.commands)
    record_figures(
        "suspend during a migration",
        {f"state on {name}": str(state) for name, state in states.items()},
    )
    assert commanded.migration.error is None
    assert set(states) == {testbed.destination.name}
    assert states[testbed.destination.name] in {DomainState.PAUSED, DomainState.RUNNING}
    if states[testbed.destination.name] is DomainState.PAUSED:
        guest.domain.resume()
    testbed.check_guests()


@pytest.mark.requirement("LM-RES-03")
def test_destroyed_guest_runs_nowhere(testbed: Testbed, record_commands: RecordCommands) -> None:
    """
    If libvirt destroys a guest during a migration, the guest runs on no host afterwards.

    Preconditions: an operator gives the command `virsh destroy` in the first iteration over guest
    memory.
    Expected: if libvirt accepts the command, the migration fails, and the guest is off. The test
    can then start the guest from its definition. If libvirt refuses the command, the migration
    completes.
    """
    guest = testbed.make_guest(GuestSpec())

    commanded = run_commands_during_migration(
        testbed, guest, Plan(), at_source={"destroy": ("destroy", guest.name)}
    )

    record_commands(commanded.commands)
    if not commanded.accepted_commands:
        raise_violations(commanded.migration.violations)
        assert commanded.migration.error is None
        return
    testbed.detach_observers(guest)  # the guest is lost, as the operator wanted
    assert isinstance(commanded.migration.error, MigrationError)
    states = guest.query_states_by_host(testbed.hosts)
    assert states == {testbed.source.name: DomainState.SHUT_OFF}
    guest.domain.start()
    guest.wait_for_agent(Deadline(BOOT_SECONDS))
