"""LM-PRE-02, LM-SHR-01: the same storage and networks at both hosts, proved by probing."""

from collections.abc import Callable
from contextlib import AbstractContextManager

import pytest

from fixtures.plugins.hosts import Pair
from migqual.hosts.guest import Guest
from migqual.hosts.host import Host
from migqual.hosts.provision import Provisioner
from migqual.model.finding import Severity
from migqual.model.guest import DiskSpec
from migqual.model.inventory import StoreKind
from migqual.model.plan import Plan, StorageCopy
from migqual.preflight.tools import Probes
from suites.prerequisites import damage
from suites.prerequisites.looking import COMMON, Look, twin

Harm = Callable[[Provisioner, Host], AbstractContextManager[None]]
PLACES = ("remote", "shared", "remote")
FILE = COMMON.index(next(disk for disk in COMMON if disk.store is StoreKind.DIRECTORY))


@pytest.mark.requirement("LM-SHR-01", "LM-PRE-02")
@pytest.mark.parametrize("number", range(len(COMMON)), ids=lambda number: str(COMMON[number].store))
def test_common_disk_is_recognised(number: int, look: Look, standing: Guest) -> None:
    """
    A disk on a store that both hosts use is told from a local one.

    Preconditions: a shared directory, an NBD export, an iSCSI LUN.
    Expected: the file is shared, the network disks are remote, each with the proof in words.
    """
    finding = look(standing.name)[f"LM-SHR-01.{standing.spec.targets()[number]}"]

    assert finding.verdict is Severity.OK
    assert finding.figures["place"] == PLACES[number]


@pytest.mark.requirement("LM-SHR-01", "LM-PRE-02")
@pytest.mark.parametrize(
    ("copy", "verdict"),
    [(StorageCopy.NONE, Severity.REFUSED), (StorageCopy.ALL, Severity.OK)],
    ids=str,
)
def test_local_disk_is_recognised(
    copy: StorageCopy, verdict: Severity, look: Look, standing: Guest, provision: Provisioner
) -> None:
    """
    A disk that only the source has is local: such a guest moves only together with its disk.

    Preconditions: a disk in a folder that exists at both hosts, each having one of its own.
    Expected: classed as local; refused unless the plan copies it.
    """
    with twin(provision, standing, DiskSpec(StoreKind.LOCAL)) as name:
        found = look(name, Plan(copy_storage=copy))

    disk = found["LM-SHR-01.vda"]
    assert disk.figures["place"] == "local", disk.words
    assert found["LM-PRE-02.storage"].verdict is verdict
    assert found["LM-PRE-04.storage"].figures["needed_mib"] == 64


@pytest.mark.requirement("LM-SHR-01", "LM-PRE-02")
def test_folder_of_the_same_name_proves_nothing(
    look: Look, standing: Guest, pair: Pair, provision: Provisioner
) -> None:
    """
    Path, name and folder are equal at both hosts, and yet it is another image.

    Preconditions: the destination has a file system of its own where the shared directory is, with
    an image of the same name in it.
    Expected: the disk is local, and the move is refused.
    """
    with damage.other_folder(provision, pair.destination, standing.volumes[FILE].path):
        found = look(standing.name)

    assert found[f"LM-SHR-01.{standing.spec.targets()[FILE]}"].figures["place"] == "local"
    assert found["LM-PRE-02.storage"].verdict is Severity.REFUSED


@pytest.mark.requirement("LM-SHR-01", "LM-PRE-02")
def test_another_image_in_the_shared_folder(
    look: Look, standing: Guest, pair: Pair, provision: Provisioner
) -> None:
    """
    The folder is shared, but at the destination another file lies over the image.

    Preconditions: a bind mount over the image at the destination.
    Expected: ambiguous: unknown, and never taken for shared.
    """
    image = standing.volumes[FILE].path
    with damage.over(provision, pair.destination, image, b"another image"):
        found = look(standing.name)

    assert found[f"LM-SHR-01.{standing.spec.targets()[FILE]}"].verdict is Severity.UNKNOWN
    assert found["LM-PRE-02.storage"].verdict is Severity.UNKNOWN


@pytest.mark.requirement("LM-SHR-01", "LM-PRE-02")
def test_shared_file_is_recognised_without_writing(look: Look, standing: Guest) -> None:
    """
    For a guest of somebody else no token is written: the lock that QEMU holds on its image tells.

    Preconditions: a running guest on the shared directory.
    Expected: shared; nothing was to be written beside the image: the journal, which names every
    file before it is made, names none there.
    """
    folder = standing.volumes[FILE].path.parent
    journal = look.tools.journal.file
    before = journal.read_text()
    look.tools.probes = Probes.READ_ONLY
    found = look(standing.name)

    assert found[f"LM-SHR-01.{standing.spec.targets()[FILE]}"].figures["place"] == "shared"
    assert str(folder) not in journal.read_text().removeprefix(before)


@pytest.mark.requirement("LM-PRE-02")
@pytest.mark.parametrize("store", [StoreKind.NBD, StoreKind.ISCSI], ids=str)
def test_store_out_of_the_destinations_reach(
    store: StoreKind, look: Look, standing: Guest, pair: Pair, provision: Provisioner
) -> None:
    """
    A destination that cannot open a network disk is no destination.

    Preconditions: the destination's firewall keeps it from the storage host.
    Expected: refused, and the words name the disk and what QEMU's tool said.
    """
    number = [disk.store for disk in COMMON].index(store)
    port = standing.volumes[number].port
    with damage.rejecting(provision, pair.destination, f"output tcp dport {port}"):
        finding = look(standing.name)["LM-PRE-02.storage"]

    assert finding.verdict is Severity.REFUSED
    assert finding.figures[standing.spec.targets()[number]] == "unreachable"
    assert pair.destination.name in finding.words


@pytest.mark.requirement("LM-PRE-02")
@pytest.mark.parametrize(
    "harm", [damage.off_the_segment, damage.without_bridge], ids=["cut-off", "absent"]
)
def test_service_bridge_of_no_use(
    harm: Harm, look: Look, standing: Guest, pair: Pair, provision: Provisioner
) -> None:
    """
    A bridge that is cut off, or not there at all, cannot serve the guest.

    Preconditions: the destination's service bridge has lost its uplink, or its name.
    Expected: refused, naming the bridge.
    """
    with harm(provision, pair.destination):
        finding = look(standing.name)["LM-PRE-02.network"]

    assert finding.verdict is Severity.REFUSED
    assert pair.source.entry.service_bridge in finding.words
