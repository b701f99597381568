"""What tests of preflight are made of: a guest that stands ready, and a look at it. A plugin, so
that every chapter shares the one guest."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from uuid import uuid4

import pytest
from lxml import etree

from fixtures.plugins.hosts import Pair
from migqual.deadline import Deadline
from migqual.hosts.guest import Guest
from migqual.hosts.host import Host
from migqual.hosts.provision import Provisioner
from migqual.model.finding import Finding, Severity
from migqual.model.guest import DiskFormat, DiskSpec, GuestSpec
from migqual.model.inventory import StoreKind
from migqual.model.plan import Plan
from migqual.preflight.collect import Move, collect
from migqual.preflight.facts import Facts
from migqual.preflight.run import preflight
from migqual.preflight.tools import Tools

_WORST = (Severity.OK, Severity.WARNING, Severity.UNKNOWN, Severity.REFUSED)
AGENT_S = 15.0
COMMON = (
    DiskSpec(StoreKind.NBD),
    DiskSpec(StoreKind.DIRECTORY, DiskFormat.QCOW2),
    DiskSpec(StoreKind.ISCSI),
)


@dataclass(frozen=True)
class Look:
    """`look(guest)`: the worst finding of each check, by its id, for a move across the pair."""

    pair: Pair
    tools: Tools

    def __call__(
        self,
        guest: str,
        plan: Plan | None = None,
        *,
        destination: Host | None = None,
    ) -> Mapping[str, Finding]:
        to = destination or self.pair.destination
        return worst(preflight(guest, self.pair.source, to, self.tools, plan or Plan()))

    def facts(self, guest: str) -> Facts:
        """What preflight knows of the guest, to be judged as it is or changed."""
        return collect(Move(guest, self.pair.source, self.pair.destination, Plan()), self.tools)


def worst(found: Iterable[Finding]) -> Mapping[str, Finding]:
    """The worst finding of each id."""
    ranked = sorted(found, key=lambda finding: _WORST.index(finding.verdict))
    return {finding.id: finding for finding in ranked}


@pytest.fixture
def look(pair: Pair, tools: Tools) -> Look:
    """Preflight of any guest on the source host, towards the destination."""
    return Look(pair, tools)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Those that look at the standing guest come last: it is made once, and its load is nowhere
    near a test that measures."""
    items.sort(key=lambda item: "standing" in getattr(item, "fixturenames", ()))


@pytest.fixture(scope="session")
def standing(pair: Pair, provision: Provisioner) -> Iterator[Guest]:
    """An idle guest on the source host with a disk on each shared store, whose agent answers. Leave
    it as it was."""
    with provision.guest(GuestSpec(disks=COMMON), pair.source, pair.destination) as guest:
        guest.wait_ready(Deadline(AGENT_S))
        yield guest


@contextmanager
def twin(
    provision: Provisioner, guest: Guest, disk: DiskSpec | None = None, **changes: str
) -> Iterator[str]:
    """The name of a definition like the guest's that is off, so that it may be of any size.

    disk     its only disk, made for it
    changes  path in the XML to text
    """
    name = f"{guest.name}-twin"
    made = [provision.journal.record(guest.host.name, "domain", name)]
    try:
        root = _changed(guest, {"name": name, "uuid": str(uuid4()), **changes})
        if disk is not None:
            store = provision.inventory.store(disk.store)
            volume, files = provision.volumes.make(name, disk, store, guest.host)
            made += files
            _replace_disks(root, str(volume.path), disk)
        guest.host.libvirt.define(etree.tostring(root, encoding=str))
        yield name
    finally:
        provision.volumes.remove(made)


def _changed(guest: Guest, changes: Mapping[str, str]) -> etree._Element:
    root = etree.fromstring(guest.domain.xml().encode())
    for path, text in changes.items():
        element = root.find(path)
        if element is None:
            raise LookupError(f"no {path} in the guest's XML")
        element.text = text
    for memory in root.findall("currentMemory"):
        root.remove(memory)
    return root


def _replace_disks(root: etree._Element, path: str, spec: DiskSpec) -> None:
    devices = root.find("devices")
    if devices is None:
        raise LookupError("no devices in the guest's XML")
    for old in devices.findall("disk"):
        devices.remove(old)
    disk = etree.SubElement(devices, "disk", type="file", device="disk")
    etree.SubElement(disk, "driver", name="qemu", type=spec.format.value)
    etree.SubElement(disk, "source", file=path)
    etree.SubElement(disk, "target", dev="vda", bus="virtio")
