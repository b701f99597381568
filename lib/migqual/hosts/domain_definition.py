"""Parse the parts of a domain XML that matter for a migration (pure functions).

libvirt describes the XML in https://libvirt.org/formatdomain.html
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, cast

from lxml import etree

from migqual.inventory.entities import format_uri_host

_KIB_PER_UNIT = {
    "b": 1 / 1024,
    "kib": 1,
    "k": 1,
    "mib": 1024,
    "m": 1024,
    "gib": 1024**2,
    "g": 1024**2,
}

# Devices preventing a migration: XPath of the device, and its description for a finding.
_BLOCKERS = (
    ("devices/hostdev", "host device passed through ({type})"),
    (
        "devices/interface[@type='hostdev'][not(teaming/@type='transient')]",
        "host network device passed through",
    ),
    ("devices/interface[@type='vdpa']", "vDPA network device"),
    ("devices/disk[@type='nvme']", "NVMe device passed through"),
    ("devices/disk[@type='vhostuser']", "vhost-user disk"),
    ("devices/filesystem", "host folder shared with the guest (filesystem)"),
    ("devices/shmem[not(@role='master')]", "memory shared with the host (shmem)"),
    ("devices/tpm[backend/@type='passthrough']", "TPM of the host passed through"),
    (
        "devices/smartcard[@mode='host' or @mode='host-certificates']",
        "host smartcard passed through",
    ),
    ("devices/memory[@model='sgx-epc']", "SGX memory"),
    ("launchSecurity", "memory encrypted by the host ({type})"),
)


@dataclass(frozen=True)
class Disk:
    """A disk of a guest.

    Attributes:
        target: Target name, for example `vda`.
        source: Path or URI with which QEMU's tools open the image. The text is empty if the XML
            does not contain a path or URI for the tools.
        needs_secret: Whether QEMU opens the image only with a secret stored in libvirt.
        alias: Name of the device in a running QEMU; empty when the guest does not run.
    """

    target: str
    type: str
    source: str
    format: str = "raw"
    device: str = "disk"
    cache: str = "default"
    readonly: bool = False
    shareable: bool = False
    needs_secret: bool = False
    alias: str = ""

    @property
    def is_copied_by_default(self) -> bool:
        """Return whether libvirt copies the disk by default in a migration with disk copies.

        By default libvirt copies every disk that is neither read-only nor shareable.
        """
        return not (self.readonly or self.shareable)


@dataclass(frozen=True)
class Nic:
    """A network interface of a guest.

    Attributes:
        source: Name of the virtual network or of the bridge.
        bridge: Name of the bridge; empty when the XML does not name the bridge.
        host_device: Name of the interface on the host; empty when the guest does not run.
    """

    mac: str
    type: str
    source: str
    bridge: str
    host_device: str = ""


@dataclass(frozen=True)
class DomainDefinition:
    """The parts of a guest's domain XML that matter for a migration.

    Attributes:
        hugepage_kib: Size of the guest's huge pages in KiB; 0 without huge pages.
        cpu_xml: The CPU element; empty without a CPU element.
        blockers: Descriptions of the devices that prevent a migration.
    """

    vcpus: int
    memory_mib: int
    hugepage_kib: int
    cpu_mode: str
    cpu_model: str
    cpu_xml: str
    arch: str
    machine: str
    virt_type: str
    emulator: str
    has_agent_channel: bool
    disks: tuple[Disk, ...]
    nics: tuple[Nic, ...]
    blockers: tuple[str, ...]


def parse_domain_xml(xml: str) -> DomainDefinition:
    """Parse the XML of a domain into a `DomainDefinition`.

    Args:
        xml: XML of the domain. The live XML of a running domain contains the most details.

    Returns:
        The definition.
    """
    root = etree.fromstring(xml.encode())
    cpu = root.find("cpu")
    agent_path = "devices/channel/target[@name='org.qemu.guest_agent.0']"
    os_type = root.find("os/type")
    return DomainDefinition(
        vcpus=int(root.findtext("vcpu") or 1),
        memory_mib=round(_convert_to_kib(root.find("memory")) / 1024),
        hugepage_kib=_parse_hugepage_kib(root),
        cpu_mode="" if cpu is None else cpu.get("mode", "custom"),
        cpu_model="" if cpu is None else (cpu.findtext("model") or ""),
        cpu_xml="" if cpu is None else etree.tostring(cpu, encoding=str, with_tail=False),
        arch="" if os_type is None else os_type.get("arch", ""),
        machine="" if os_type is None else os_type.get("machine", ""),
        virt_type=root.get("type", ""),
        emulator=root.findtext("devices/emulator") or "",
        has_agent_channel=root.find(agent_path) is not None,
        disks=tuple(_parse_disk(element) for element in root.iterfind("devices/disk")),
        nics=tuple(_parse_nic(element) for element in root.iterfind("devices/interface")),
        blockers=tuple(_list_blockers(root)),
    )


def _convert_to_kib(element: etree._Element | None) -> float:
    if element is None:
        return 0
    return int(element.text or 0) * _KIB_PER_UNIT.get(element.get("unit", "KiB").lower(), 1)


def _parse_hugepage_kib(root: etree._Element) -> int:
    """Return the size of the guest's huge pages in KiB, or 0 for a guest without huge pages.

    Huge pages without a size in the XML count as 2048 KiB.
    """
    pages = root.find("memoryBacking/hugepages")
    if pages is None:
        return 0
    page = pages.find("page")
    if page is None:
        return 2048
    return int(
        int(page.get("size", "2048")) * _KIB_PER_UNIT.get(page.get("unit", "KiB").lower(), 1)
    )


def _parse_disk(element: etree._Element) -> Disk:
    tags = ("driver", "source", "target", "alias")
    driver, source, target, alias = (element.find(tag) for tag in tags)
    return Disk(
        target="" if target is None else target.get("dev", ""),
        type=element.get("type", "file"),
        source="" if source is None else _parse_disk_source(source),
        format="raw" if driver is None else driver.get("type", "raw"),
        device=element.get("device", "disk"),
        cache="default" if driver is None else driver.get("cache", "default"),
        readonly=element.find("readonly") is not None,
        shareable=element.find("shareable") is not None,
        needs_secret=element.find(".//auth") is not None
        or element.find(".//encryption") is not None,
        alias="" if alias is None else alias.get("name", ""),
    )


def _parse_disk_source(source: etree._Element) -> str:
    for attribute in ("file", "dev", "dir"):
        if path := source.get(attribute):
            return path
    return _build_disk_uri(source)


def _build_disk_uri(source: etree._Element) -> str:
    """Build the URI of a network disk.

    QEMU opens the URIs of the protocols nbd, iscsi and gluster unchanged. For any other
    protocol, or without a host name, the result is empty.
    """
    host = source.find("host")
    protocol = source.get("protocol", "")
    if host is None or host.get("name") is None or protocol not in {"nbd", "iscsi", "gluster"}:
        return ""
    port = f":{host.get('port')}" if host.get("port") else ""
    name = source.get("name") or ""
    return f"{protocol}://{format_uri_host(host.get('name', ''))}{port}/{name}"


def _parse_nic(element: etree._Element) -> Nic:
    mac, source, target = (element.find(tag) for tag in ("mac", "source", "target"))
    nic_type = element.get("type", "")
    return Nic(
        mac=_get_attribute(mac, "address"),
        type=nic_type,
        source=_get_attribute(source, "network" if nic_type == "network" else "bridge"),
        bridge=_get_attribute(source, "bridge"),
        host_device=_get_attribute(target, "dev"),
    )


def _find_elements(root: etree._Element, path: str) -> "list[etree._Element]":
    return cast("list[Any]", root.xpath(path))


def _get_attribute(element: etree._Element | None, name: str) -> str:
    return "" if element is None else element.get(name, "")


def _list_blockers(root: etree._Element) -> Iterator[str]:
    for path, description in _BLOCKERS:
        for element in _find_elements(root, path):
            yield description.format(type=element.get("type", "unknown"))
