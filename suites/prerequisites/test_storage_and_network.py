"""LM-PRE-02, LM-SHR-01: both hosts have the same storage and networks, proved by probes."""

import secrets
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager

import pytest

from fixtures.plugins.preflight import SHARED_DISKS, PreflightRunner, define_inactive_copy
from migqual.faults.injection import inject_commands
from migqual.hosts.guest import Guest
from migqual.hosts.host import Host
from migqual.hosts.nbd_server import build_nbd_server_command
from migqual.hosts.pid_file import build_stop_command
from migqual.hosts.provision import Provisioner
from migqual.inventory.stores import StoreKind
from migqual.model.finding import Severity
from migqual.model.guest_spec import DiskSpec
from migqual.model.plan import Plan, StorageCopy
from migqual.probes.probe_context import ProbeMode
from migqual.testbed.testbed import Testbed
from suites.support import faults

FaultInjector = Callable[[Provisioner, Host], AbstractContextManager[None]]
LOOPBACK_PORTS = range(49216, 49248)  # no other part of migqual uses these ports
LOOPBACK_DISK_XML = (
    "<disk type='network' device='disk'><driver name='qemu' type='raw'/>"
    "<source protocol='nbd'><host name='127.0.0.1' port='{port}'/></source>"
    "<target dev='vda' bus='virtio'/></disk>"
)
EXPECTED_PLACES = ("remote", "shared", "remote")
FILE_DISK_INDEX = SHARED_DISKS.index(
    next(disk for disk in SHARED_DISKS if disk.store is StoreKind.DIRECTORY)
)


@pytest.mark.requirement("LM-SHR-01", "LM-PRE-02")
@pytest.mark.parametrize(
    "disk_index",
    range(len(SHARED_DISKS)),
    ids=lambda disk_index: str(SHARED_DISKS[disk_index].store),
)
def test_shared_disk_is_recognized(
    disk_index: int, run_preflight: PreflightRunner, shared_idle_guest: Guest
) -> None:
    """
    Preflight recognizes a disk that both hosts can open.

    Preconditions: the guest has an image file in a shared directory, a disk on an NBD export, and
    a disk on an iSCSI LUN.
    Expected: preflight reports the location `shared` for the image file, and `remote` for the two
    network disks. Each finding states the proof that both hosts open the same disk.
    """
    finding = run_preflight(shared_idle_guest.name)[
        f"LM-SHR-01.{shared_idle_guest.spec.list_disk_targets()[disk_index]}"
    ]

    assert finding.severity is Severity.OK
    assert finding.figures["location"] == EXPECTED_PLACES[disk_index]


@pytest.mark.requirement("LM-SHR-01", "LM-PRE-02")
@pytest.mark.parametrize(
    ("copy", "verdict"),
    [(StorageCopy.NONE, Severity.REFUSED), (StorageCopy.ALL, Severity.OK)],
    ids=str,
)
def test_local_disk_is_recognized(
    copy: StorageCopy,
    verdict: Severity,
    run_preflight: PreflightRunner,
    shared_idle_guest: Guest,
    provisioner: Provisioner,
) -> None:
    """
    A disk that only the source can open is local; the guest migrates only together with the disk.

    Preconditions: the folder of the disk exists on both hosts under the same path, but the hosts
    do not share the folder.
    Expected: the disk is local. The migration is refused unless the plan copies the disk.
    """
    with define_inactive_copy(provisioner, shared_idle_guest, DiskSpec(StoreKind.LOCAL)) as name:
        findings = run_preflight(name, Plan(copy_storage=copy))

    disk_finding = findings["LM-SHR-01.vda"]
    assert disk_finding.figures["location"] == "local", disk_finding.message
    assert findings["LM-PRE-02.storage"].severity is verdict
    assert findings["LM-PRE-04.storage"].figures["needed_mib"] == 64


@pytest.mark.requirement("LM-SHR-01", "LM-PRE-02")
def test_same_folder_name_is_not_shared_storage(
    run_preflight: PreflightRunner, shared_idle_guest: Guest, testbed: Testbed
) -> None:
    """
    An equal path, file name and folder on both hosts do not prove a shared image.

    Preconditions: the destination has a separate file system at the path of the shared
    directory, with an image of the same name.
    Expected: the disk is local, and the migration is refused.
    """
    with faults.inject_unshared_folder(
        testbed.provisioner, testbed.destination, shared_idle_guest.volumes[FILE_DISK_INDEX].path
    ):
        findings = run_preflight(shared_idle_guest.name)

    assert (
        findings[
            f"LM-SHR-01.{shared_idle_guest.spec.list_disk_targets()[FILE_DISK_INDEX]}"
        ].figures["location"]
        == "local"
    )
    assert findings["LM-PRE-02.storage"].severity is Severity.REFUSED


@pytest.mark.requirement("LM-SHR-01", "LM-PRE-02")
def test_another_image_in_the_shared_folder(
    run_preflight: PreflightRunner, shared_idle_guest: Guest, testbed: Testbed
) -> None:
    """
    An image in a shared folder is not shared if another file hides the image at the destination.

    Preconditions: at the destination, a bind mount puts another file over the image.
    Expected: preflight does not report the disk as shared. The findings about the disk have the
    severity `unknown`.
    """
    image = shared_idle_guest.volumes[FILE_DISK_INDEX].path
    with faults.inject_file_over(testbed.provisioner, testbed.destination, image, b"another image"):
        findings = run_preflight(shared_idle_guest.name)

    assert (
        findings[
            f"LM-SHR-01.{shared_idle_guest.spec.list_disk_targets()[FILE_DISK_INDEX]}"
        ].severity
        is Severity.UNKNOWN
    )
    assert findings["LM-PRE-02.storage"].severity is Severity.UNKNOWN


@pytest.mark.requirement("LM-SHR-01", "LM-PRE-02")
def test_equal_exports_of_two_servers_are_not_one_disk(
    run_preflight: PreflightRunner, shared_idle_guest: Guest, testbed: Testbed
) -> None:
    """
    A network disk whose server is `127.0.0.1` is not the same disk on both hosts.

    Preconditions: each host runs an NBD server of its own on the loopback address. The two servers
    have the same port, and their exports have the same size and the same contents (only zeros).
    Expected: preflight does not report the disk as remote. The findings about the disk have the
    severity `unknown`, and name the address.
    """
    with (
        serve_blank_disk(testbed) as port,
        define_inactive_copy(
            testbed.provisioner, shared_idle_guest, disk_xml=LOOPBACK_DISK_XML.format(port=port)
        ) as name,
    ):
        findings = run_preflight(name)

    assert findings["LM-SHR-01.vda"].severity is Severity.UNKNOWN
    assert "127.0.0.1" in findings["LM-SHR-01.vda"].message
    assert findings["LM-PRE-02.storage"].severity is Severity.UNKNOWN


@contextmanager
def serve_blank_disk(testbed: Testbed) -> Iterator[int]:
    """Serve a disk of zeros with an NBD server on each host, and yield the port of both servers."""
    port, journal = (
        LOOPBACK_PORTS.start + secrets.randbelow(len(LOOPBACK_PORTS)),
        testbed.probe_context.journal,
    )
    with ExitStack() as stack:
        for host in testbed.hosts:
            pid_file = f"{host.entry.scratch}/blank-export-{port}.pid"
            image = "driver=null-co,size=64M,read-zeroes=on"
            options = ("--image-opts", "--read-only", "--persistent", "--bind=127.0.0.1")
            server_command = build_nbd_server_command(
                port, image, *options, f"--pid-file={pid_file}"
            )
            server = inject_commands(
                journal,
                host,
                f"NBD server on port {port}",
                [server_command],
                [build_stop_command(pid_file)],
                lambda: True,  # qemu-nbd fails if it cannot listen
            )
            stack.enter_context(server)
        yield port


@pytest.mark.requirement("LM-SHR-01", "LM-PRE-02")
def test_shared_file_is_recognized_without_writing(
    run_preflight: PreflightRunner, shared_idle_guest: Guest
) -> None:
    """
    Preflight recognizes a shared file by QEMU's lock on the image, without writing a file.

    Preconditions: a running guest on the shared directory. Preflight may use only read-only
    probes, as for a guest of another owner.
    Expected: if the file system shows the locks of one host to the other host, the disk is
    shared. Otherwise the disk is ambiguous. Preflight writes no file to the folder of the image:
    the journal (the list of all objects that migqual creates) has no new entry for this folder.
    """
    finding_id = f"LM-SHR-01.{shared_idle_guest.spec.list_disk_targets()[FILE_DISK_INDEX]}"
    has_common_locks = "lock" in run_preflight(shared_idle_guest.name)[finding_id].message
    folder = shared_idle_guest.volumes[FILE_DISK_INDEX].path.parent
    journal_path = run_preflight.probe_context.journal.file
    earlier_journal = journal_path.read_text()
    run_preflight.probe_context.mode = ProbeMode.READ_ONLY
    findings = run_preflight(shared_idle_guest.name)

    expected_location = "shared" if has_common_locks else "ambiguous"
    assert findings[finding_id].figures["location"] == expected_location
    assert str(folder) not in journal_path.read_text().removeprefix(earlier_journal)


@pytest.mark.requirement("LM-PRE-02")
@pytest.mark.parametrize("store", [StoreKind.NBD, StoreKind.ISCSI], ids=str)
def test_store_unreachable_from_destination(
    store: StoreKind, run_preflight: PreflightRunner, shared_idle_guest: Guest, testbed: Testbed
) -> None:
    """
    A destination without access to a network disk is refused.

    Preconditions: the firewall of the destination blocks the connection to the storage host.
    Expected: preflight refuses. The finding names the disk and the destination, and contains the
    message of QEMU's tool.
    """
    disk_index = [disk.store for disk in SHARED_DISKS].index(store)
    port = shared_idle_guest.volumes[disk_index].port
    with faults.inject_tcp_reset(
        testbed.provisioner, testbed.destination, f"output tcp dport {port}"
    ):
        finding = run_preflight(shared_idle_guest.name)["LM-PRE-02.storage"]

    assert finding.severity is Severity.REFUSED
    assert finding.figures[shared_idle_guest.spec.list_disk_targets()[disk_index]] == "unreachable"
    assert testbed.destination.name in finding.message


@pytest.mark.requirement("LM-PRE-02")
@pytest.mark.parametrize(
    "inject_fault",
    [faults.inject_bridge_disconnect, faults.inject_missing_bridge],
    ids=["cut-off", "absent"],
)
def test_unusable_service_bridge(
    inject_fault: FaultInjector,
    run_preflight: PreflightRunner,
    shared_idle_guest: Guest,
    testbed: Testbed,
) -> None:
    """
    A destination with a disconnected or missing service bridge is refused.

    Preconditions: the service bridge of the destination has no uplink, or has another name.
    Expected: preflight refuses. The finding names the bridge.
    """
    with inject_fault(testbed.provisioner, testbed.destination):
        finding = run_preflight(shared_idle_guest.name)["LM-PRE-02.network"]

    assert finding.severity is Severity.REFUSED
    assert testbed.source.entry.service_bridge in finding.message
