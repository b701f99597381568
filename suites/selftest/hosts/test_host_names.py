"""The path of QEMU and the name of the service bridge in the XML for the destination."""

from dataclasses import replace

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
    """In the XML for the destination, QEMU's path and the service bridge are the destination's.

    A virtual network of libvirt keeps its name, even if the source's bridge has the same name.
    """
    xml = translate_domain_xml(SOURCE_XML, SOURCE, DESTINATION)

    assert xml == XML.format(emulator="/usr/libexec/qemu-kvm", bridge="br0")


def test_way_back_gives_the_first_xml() -> None:
    there = translate_domain_xml(SOURCE_XML, SOURCE, DESTINATION)

    assert translate_domain_xml(there, DESTINATION, SOURCE) == SOURCE_XML


def test_other_names_stay() -> None:
    """If a guest uses neither the QEMU nor the bridge of the source host, the XML stays the same.

    The guest uses a QEMU that a user built (`/opt/qemu/bin/qemu`) and the bridge `br-other`.
    """
    other_xml = XML.format(emulator="/opt/qemu/bin/qemu", bridge="br-other")

    assert translate_domain_xml(other_xml, SOURCE, DESTINATION) == other_xml


def test_destination_without_a_bridge_keeps_the_name() -> None:
    assert translate_bridge("br-svc", SOURCE, HostNames("/q", "")) == "br-svc"


def test_open_vswitch_at_one_end() -> None:
    """An interface has the port type of Open vSwitch only on the host that uses Open vSwitch.

    The XML for the migration to this host has the port type; the XML for the return does not.
    """
    ovs_destination = replace(DESTINATION, has_ovs_bridge=True)

    there = translate_domain_xml(SOURCE_XML, SOURCE, ovs_destination)

    ports = '<source bridge="br0"/><virtualport type="openvswitch"/></interface>'
    assert ports in there
    assert there.count("<virtualport") == 1
    assert translate_domain_xml(there, ovs_destination, SOURCE) == SOURCE_XML


def test_open_vswitch_at_both_ends_keeps_the_port_type() -> None:
    """If both hosts use Open vSwitch, the interface keeps the port type and the port id."""
    ovs_source = replace(SOURCE, has_ovs_bridge=True)
    port = '<virtualport type="openvswitch"><parameters interfaceid="1"/></virtualport>'
    ovs_xml = SOURCE_XML.replace('"br-svc"/></interface>', f'"br-svc"/>{port}</interface>', 1)

    assert port in translate_domain_xml(ovs_xml, ovs_source, replace(ovs_source, emulator="/q"))
