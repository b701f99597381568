"""The domain XML has only elements and attributes that the libvirt of the host knows.

The page formatdomain.html of libvirt names the release that introduced an element ("since"). The
oldest release is libvirt 6.2, which openEuler 22.03 has. The test fails for an element or attribute
that is neither in OLD_ELEMENTS nor in LATER_ELEMENTS: find its release, and add it to the right
list.
"""

from collections.abc import Iterator
from dataclasses import replace
from itertools import product
from pathlib import Path, PurePosixPath

import pytest
from lxml import etree

from migqual.architecture import Architecture
from migqual.hosts.domain_template import DomainInputs
from migqual.hosts.volume import Volume
from migqual.model.guest_spec import CrashAction, Firmware, GuestSpec
from suites.selftest.hosts.test_domain_xml import BASE_INPUTS, FIRMWARE, render_and_parse

pytestmark = pytest.mark.selftest

OLDEST = (6, 2, 0)
NEWEST = (12, 0, 0)
# Elements that libvirt 6.2 knows, each with the attributes that libvirt 6.2 knows.
OLD_ELEMENTS = """
clock @offset
cpu @check @match @mode
cpu/model
cpu/numa
cpu/numa/cell @cpus @id @memory @unit
devices
devices/channel @type
devices/channel/target @name @type
devices/controller @index @model @type
devices/disk @device @type
devices/disk/boot @order
devices/disk/driver @cache @discard @name @type
devices/disk/readonly
devices/disk/serial
devices/disk/source @file @name @protocol
devices/disk/source/host @name @port
devices/disk/target @bus @dev
devices/interface @type
devices/interface/mac @address
devices/interface/model @type
devices/interface/source @bridge
devices/interface/virtualport @type
devices/memballoon @model
devices/panic @model
devices/rng @model
devices/rng/backend @model
devices/serial @type
devices/serial/source @append @path
devices/serial/target @port
features
features/acpi
features/apic
features/gic @version
features/kvm
memory @unit
memoryBacking
memoryBacking/hugepages
memoryBacking/hugepages/page @size @unit
name
on_crash
on_poweroff
on_reboot
os
os/cmdline
os/initrd
os/kernel
os/loader @readonly @type
os/nvram @template
os/type @arch @machine
uuid
vcpu
"""
# Elements that libvirt knows since a later release, with all their attributes.
LATER_ELEMENTS = {"devices/audio": (7, 2), "features/kvm/dirty-ring": (8, 0)}
SPECS = (
    BASE_INPUTS.spec,
    GuestSpec(memory_mib=1024, vcpus=4, huge_page_kib=2048, numa_nodes=2),
    replace(BASE_INPUTS.spec, dirty_ring_size=4096),
    GuestSpec(on_crash=CrashAction.DESTROY),
)


@pytest.mark.parametrize("version", [OLDEST, (7, 0, 0), (7, 2, 0), (9, 10, 0), NEWEST], ids=str)
def test_definition_has_only_elements_of_the_libvirt_release(version: tuple[int, ...]) -> None:
    """No domain XML has an element or attribute that a later release of libvirt introduced."""
    known_names = set(list_old_names())
    known_later = [name for name, since in LATER_ELEMENTS.items() if since <= version]

    unknown_names = {
        name
        for inputs in list_inputs(version)
        for name in list_names(render_and_parse(inputs))
        if name not in known_names and not name.startswith(tuple(known_later))
    }

    assert unknown_names == set()


def test_lists_name_only_elements_in_use() -> None:
    """Each element and attribute in OLD_ELEMENTS and LATER_ELEMENTS is in the XML of a guest."""
    used_names = {
        name for inputs in list_inputs(NEWEST) for name in list_names(render_and_parse(inputs))
    }

    assert sorted({*list_old_names(), *LATER_ELEMENTS} - used_names) == []


def list_old_names() -> Iterator[str]:
    """List the elements and attributes in OLD_ELEMENTS, which libvirt 6.2 already knows.

    For example, the line `os/loader @type` gives the names `os/loader` and `os/loader/@type`.
    """
    for line in OLD_ELEMENTS.split("\n"):
        element, *attributes = line.split() or [""]
        if element:
            yield element
            yield from (f"{element}/{attribute}" for attribute in attributes)


def list_inputs(version: tuple[int, ...]) -> Iterator[DomainInputs]:
    """List inputs whose domain XMLs together have every optional element of a domain XML."""
    base = replace(BASE_INPUTS, libvirt_version=version, firmware=FIRMWARE)
    for arch, virt_type, firmware, spec, has_ovs_bridge in product(
        Architecture, ("kvm", "qemu"), Firmware, SPECS, (False, True)
    ):
        if spec.dirty_ring_size and version < LATER_ELEMENTS["features/kvm/dirty-ring"]:
            continue  # only a test that asks for the ring sets its size
        yield replace(
            base,
            arch=arch,
            virt_type=virt_type,
            spec=replace(spec, firmware=firmware),
            volumes=base.volumes if spec.disks else (),
            has_ovs_bridge=has_ovs_bridge,
        )
    yield replace(
        base,
        spec=GuestSpec(image=Path("/x.qcow2")),
        volumes=(),
        system_disk=Volume("file", PurePosixPath("/srv/root.qcow2"), "a"),
        seed_image=PurePosixPath("/srv/seed.iso"),
    )


def list_names(element: etree._Element, prefix: str = "") -> Iterator[str]:
    """List the paths of all elements below `element` and of their attributes.

    Elements with a namespace of their own, such as QEMU's command line, are left out.
    """
    for child in element.iterchildren("*"):
        if child.tag.startswith("{"):
            continue
        path = f"{prefix}{child.tag}"
        yield path
        yield from (f"{path}/@{name!s}" for name in child.attrib)
        yield from list_names(child, f"{path}/")
