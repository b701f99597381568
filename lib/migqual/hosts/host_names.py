"""Replace the names of the service bridge and of QEMU in a domain XML, for a migration.

The service bridge or QEMU may have another name at the destination. The service bridge may also be
a bridge of Linux on one host and a bridge of Open vSwitch on the other host. Without an XML for
the destination, libvirt uses the names of the source.
"""

from dataclasses import dataclass

from lxml import etree


@dataclass(frozen=True)
class HostNames:
    """The names of QEMU and of the service bridge on a host.

    Attributes:
        emulator: Path of QEMU.
        service_bridge: Bridge of the guests' service network; empty for a host without the bridge.
        has_ovs_bridge: Whether the service bridge is a bridge of Open vSwitch.
    """

    emulator: str
    service_bridge: str
    has_ovs_bridge: bool = False


def translate_domain_xml(xml: str, source: HostNames, destination: HostNames) -> str:
    """Replace the source's QEMU path and service bridge in a domain XML by the destination's.

    Another QEMU path or bridge stays unchanged, for example the path of a QEMU that a user built.

    Args:
        xml: Domain XML of a guest at the source.
        source: QEMU path and service bridge of the source.
        destination: QEMU path and service bridge of the destination.

    Returns:
        The XML for the destination; `xml` itself if nothing was replaced.
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
    for interface in root.iterfind("devices/interface"):
        has_changed |= _translate_interface(interface, source, destination)
    return etree.tostring(root, encoding=str) if has_changed else xml


def _translate_interface(
    interface: etree._Element, source: HostNames, destination: HostNames
) -> bool:
    """Replace the source's service bridge in an interface of the domain XML by the destination's.

    An interface on another bridge stays unchanged.

    Returns:
        Whether the function has changed the XML of the interface.
    """
    bridge = interface.find("source[@bridge]")
    if bridge is None or not is_service_bridge(str(bridge.get("bridge")), source, destination):
        return False
    has_other_name = bridge.get("bridge") != destination.service_bridge
    bridge.set("bridge", destination.service_bridge)
    if source.has_ovs_bridge is destination.has_ovs_bridge:
        return has_other_name
    _set_port_type(interface, has_ovs_bridge=destination.has_ovs_bridge)
    return True


def _set_port_type(interface: etree._Element, *, has_ovs_bridge: bool) -> None:
    """Set or remove `<virtualport>`, with which libvirt connects an interface to Open vSwitch."""
    for port in interface.findall("virtualport"):
        interface.remove(port)
    if has_ovs_bridge:
        etree.SubElement(interface, "virtualport", type="openvswitch")


def translate_emulator(emulator: str, source: HostNames, destination: HostNames) -> str:
    """Return the destination's QEMU path in place of the source's QEMU path.

    The function returns any other path unchanged.
    """
    return destination.emulator if emulator == source.emulator else emulator


def translate_bridge(bridge: str, source: HostNames, destination: HostNames) -> str:
    """Return the destination's service bridge in place of the source's service bridge.

    The function returns any other bridge unchanged.
    """
    is_translated = is_service_bridge(bridge, source, destination)
    return destination.service_bridge if is_translated else bridge


def is_service_bridge(bridge: str, source: HostNames, destination: HostNames) -> bool:
    """Return whether `bridge` is the service bridge of the source.

    The result is False if the destination has no service bridge.
    """
    return bool(bridge == source.service_bridge and destination.service_bridge)
