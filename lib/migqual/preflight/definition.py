"""Pure: what a domain's XML says that matters to a migration.

Follows https://libvirt.org/formatdomain.html
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, cast

from lxml import etree

from migqual.model.inventory import bracketed

_KIB = {"b": 1 / 1024, "kib": 1, "k": 1, "mib": 1024, "m": 1024, "gib": 1024**2, "g": 1024**2}

# Devices that keep a guest on its host: what to look for, and what to call it.
_BLOCKERS = (
    ("devices/hostdev", "host device passed through ({type})"),
    ("devices/interface[@type='hostdev'][not(teaming/@type='transient')]", "host network function"),
    ("devices/interface[@type='vdpa']", "vDPA network device"),
    ("devices/disk[@type='nvme']", "NVMe device passed through"),
    ("devices/disk[@type='vhostuser']", "vhost-user disk"),
    ("devices/filesystem", "folder of the host passed through"),
    ("devices/shmem[not(@role='master')]", "memory shared with the host (shmem)"),
    ("devices/tpm[backend/@type='passthrough']", "TPM of the host passed through"),
    ("devices/smartcard[@mode='host' or @mode='host-certificates']", "smartcard of the host"),
    ("devices/memory[@model='sgx-epc']", "SGX memory"),
    ("launchSecurity", "memory encrypted by the host ({type})"),
)


@dataclass(frozen=True)
class Disk:
    """One disk. `source` is a path or a URI that QEMU's tools open; empty when there is none.

    locked  the source needs credentials that libvirt keeps
    alias   what a running QEMU calls the device
    """

    target: str
    type: str
    source: str
    format: str = "raw"
    device: str = "disk"
    cache: str = "default"
    readonly: bool = False
    shareable: bool = False
    locked: bool = False
    alias: str = ""

    @property
    def own(self) -> bool:
        """Whether it is the guest's alone, to read and to write."""
        return not (self.readonly or self.shareable)


@dataclass(frozen=True)
class Nic:
    """One network interface. `bridge` is known where the XML names it."""

    mac: str
    type: str
    source: str
    bridge: str


@dataclass(frozen=True)
class Definition:
    """A guest. `hugepage_kib` is 0 without huge pages, `cpu_xml` empty without a CPU element."""

    vcpus: int
    memory_mib: int
    hugepage_kib: int
    cpu_mode: str
    cpu_model: str
    cpu_xml: str
    arch: str
    machine: str
    virt: str
    emulator: str
    agent_channel: bool
    disks: tuple[Disk, ...]
    nics: tuple[Nic, ...]
    blockers: tuple[str, ...]


def read(xml: str) -> Definition:
    """The definition in a domain's XML (live XML says most)."""
    root = etree.fromstring(xml.encode())
    cpu = root.find("cpu")
    agent = "devices/channel/target[@name='org.qemu.guest_agent.0']"
    kind = root.find("os/type")
    return Definition(
        vcpus=int(root.findtext("vcpu") or 1),
        memory_mib=round(_kib(root.find("memory")) / 1024),
        hugepage_kib=_hugepage(root),
        cpu_mode="" if cpu is None else cpu.get("mode", "custom"),
        cpu_model="" if cpu is None else (cpu.findtext("model") or ""),
        cpu_xml="" if cpu is None else etree.tostring(cpu, encoding=str, with_tail=False),
        arch="" if kind is None else kind.get("arch", ""),
        machine="" if kind is None else kind.get("machine", ""),
        virt=root.get("type", ""),
        emulator=root.findtext("devices/emulator") or "",
        agent_channel=root.find(agent) is not None,
        disks=tuple(_disk(element) for element in root.iterfind("devices/disk")),
        nics=tuple(_nic(element) for element in root.iterfind("devices/interface")),
        blockers=tuple(_blockers(root)),
    )


def _kib(element: etree._Element | None) -> float:
    if element is None:
        return 0
    return int(element.text or 0) * _KIB.get(element.get("unit", "KiB").lower(), 1)


def _hugepage(root: etree._Element) -> int:
    pages = root.find("memoryBacking/hugepages")
    if pages is None:
        return 0
    page = pages.find("page")
    if page is None:
        return 2048
    return int(int(page.get("size", "2048")) * _KIB.get(page.get("unit", "KiB").lower(), 1))


def _disk(element: etree._Element) -> Disk:
    names = ("driver", "source", "target", "alias")
    driver, source, target, alias = (element.find(name) for name in names)
    return Disk(
        target="" if target is None else target.get("dev", ""),
        type=element.get("type", "file"),
        source="" if source is None else _place(source),
        format="raw" if driver is None else driver.get("type", "raw"),
        device=element.get("device", "disk"),
        cache="default" if driver is None else driver.get("cache", "default"),
        readonly=element.find("readonly") is not None,
        shareable=element.find("shareable") is not None,
        locked=element.find(".//auth") is not None or element.find(".//encryption") is not None,
        alias="" if alias is None else alias.get("name", ""),
    )


def _place(source: etree._Element) -> str:
    for name in ("file", "dev", "dir"):
        if path := source.get(name):
            return path
    return _uri(source)


def _uri(source: etree._Element) -> str:
    """The URI of a network disk, for the protocols whose URIs QEMU opens as they are."""
    host = source.find("host")
    protocol = source.get("protocol", "")
    if host is None or host.get("name") is None or protocol not in {"nbd", "iscsi", "gluster"}:
        return ""
    port = f":{host.get('port')}" if host.get("port") else ""
    name = source.get("name") or ""
    return f"{protocol}://{bracketed(host.get('name', ''))}{port}/{name}"


def _nic(element: etree._Element) -> Nic:
    mac, source = element.find("mac"), element.find("source")
    kind = element.get("type", "")
    return Nic(
        mac="" if mac is None else mac.get("address", ""),
        type=kind,
        source=_attribute(source, "network" if kind == "network" else "bridge"),
        bridge=_attribute(source, "bridge"),
    )


def _all(root: etree._Element, path: str) -> "list[etree._Element]":
    return cast("list[Any]", root.xpath(path))


def _attribute(element: etree._Element | None, name: str) -> str:
    return "" if element is None else element.get(name, "")


def _blockers(root: etree._Element) -> Iterator[str]:
    for path, words in _BLOCKERS:
        for element in _all(root, path):
            yield words.format(type=element.get("type", "unknown"))
