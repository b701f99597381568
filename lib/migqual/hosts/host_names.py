"""Replace the names of the service bridge and of QEMU in a domain XML, for a migration.

The service bridge or QEMU may have another name at the destination. Without an XML for the
destination, libvirt uses the names of the source.
"""

from dataclasses import dataclass

from lxml import etree


@dataclass(frozen=True)
class HostNames:
    """The names of QEMU and of the service bridge on a host.

    Attributes:
        emulator: Path of QEMU.
        service_bridge: Bridge of the guests' service network; empty for a host without the bridge.
    """

    emulator: str
    service_bridge: str


def translate_domain_xml(xml: str, source: HostNames, destination: HostNames) -> str:
    """Replace the names of the source in a domain XML by the names of the destination.

    A name that is not in `source` stays unchanged, for example the path of a special emulator.

    Args:
        xml: Domain XML of a guest at the source.
        source: Names of the source.
        destination: Names of the destination.

    Returns:
        The XML for the destination; `xml` itself when no name differs.
    """
    if source == destination:
        return xml
    root = etree.fromstring(xml.encode())
    has_changed = False
    emulator = root.find("devices/emulator")
    if emulator is not None:
        translated_emulator = translate_emulator(emulator.text or "", source, destination)
        has_changed = translated_emulator != emulator.text
        emulator.text = translated_emulator
    for interface in root.iterfind("devices/interface/source[@bridge]"):
        translated_bridge = translate_bridge(str(interface.get("bridge")), source, destination)
        if translated_bridge != interface.get("bridge"):
            interface.set("bridge", translated_bridge)
            has_changed = True
    return etree.tostring(root, encoding=str) if has_changed else xml


def translate_emulator(emulator: str, source: HostNames, destination: HostNames) -> str:
    """Return the destination's QEMU if `emulator` is the source's QEMU, otherwise `emulator`."""
    return destination.emulator if emulator == source.emulator else emulator


def translate_bridge(bridge: str, source: HostNames, destination: HostNames) -> str:
    """Return the destination's service bridge if `bridge` is the source's, otherwise `bridge`."""
    is_service_bridge = bridge == source.service_bridge and destination.service_bridge
    return destination.service_bridge if is_service_bridge else bridge
