"""Translate the names that a domain XML has for objects of a host: bridge and emulator.

Two hosts may have different names for the same thing. libvirt migrates a guest with the XML of the
source, unless the caller gives the XML for the destination.
"""

from dataclasses import dataclass

from lxml import etree


@dataclass(frozen=True)
class HostNames:
    """Names of a host for objects that another host also has.

    Attributes:
        emulator: Path of QEMU.
        service_bridge: Bridge for the service interfaces of guests; empty without a bridge.
    """

    emulator: str
    service_bridge: str


def translate_domain_xml(xml: str, source: HostNames, destination: HostNames) -> str:
    """Replace the names of the source in a domain XML by the names of the destination.

    A name that the source does not use for the object stays: a guest with another emulator than
    the source's keeps that emulator.

    Args:
        xml: Domain XML of a guest at the source.
        source: Names of the source.
        destination: Names of the destination.

    Returns:
        The XML for the destination; `xml` itself where no name differs.
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
    """Return the destination's path of QEMU; any other program keeps the path."""
    return destination.emulator if emulator == source.emulator else emulator


def translate_bridge(bridge: str, source: HostNames, destination: HostNames) -> str:
    """Return the destination's name of a bridge; any other bridge keeps the name."""
    is_service_bridge = bridge == source.service_bridge and destination.service_bridge
    return destination.service_bridge if is_service_bridge else bridge
