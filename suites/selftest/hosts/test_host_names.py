"""The names of the bridge and of QEMU in the XML for the destination."""

import pytest

from migqual.hosts.host_names import HostNames, translate_bridge, translate_domain_xml

pytestmark = pytest.mark.selftest

SOURCE = HostNames("/usr/bin/qemu-system-x86_64", "br-svc")
DESTINATION = HostNames("/usr/libexec/qemu-kvm", "br0")
XML = (
    "<domain><devices><emulator>{emulator}</emulator>"
    '<interface type="bridge"><source bridge="{bridge}"/></interface>'
    '<interface type="network"><source network="br-svc"/></interface>'
    "</devices></domain>"
)
SOURCE_XML = XML.format(emulator=SOURCE.emulator, bridge=SOURCE.service_bridge)


def test_names_of_the_destination_replace_names_of_the_source() -> None:
    """A virtual network with the name of the bridge is another object, and stays."""
    xml = translate_domain_xml(SOURCE_XML, SOURCE, DESTINATION)

    assert xml == XML.format(emulator="/usr/libexec/qemu-kvm", bridge="br0")


def test_way_back_gives_the_first_xml() -> None:
    there = translate_domain_xml(SOURCE_XML, SOURCE, DESTINATION)

    assert translate_domain_xml(there, DESTINATION, SOURCE) == SOURCE_XML


def test_other_names_stay() -> None:
    """A guest with an emulator and a bridge of another owner keeps both."""
    other_xml = XML.format(emulator="/opt/qemu/bin/qemu", bridge="br-other")

    assert translate_domain_xml(other_xml, SOURCE, DESTINATION) == other_xml


def test_destination_without_a_bridge_keeps_the_name() -> None:
    assert translate_bridge("br-svc", SOURCE, HostNames("/q", "")) == "br-svc"
