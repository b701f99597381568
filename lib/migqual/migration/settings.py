"""Put a plan's settings in force at both ends, and the old values back afterwards."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

from lxml import etree

from migqual.errors import GuestError, HostError
from migqual.hosts.guest import Guest
from migqual.model.setting import Setting, at_destination

_SPACE = "http://libvirt.org/schemas/domain/qemu/1.0"
_OURS = "migration."


@contextmanager
def in_force(guest: Guest, settings: Sequence[Setting]) -> Iterator[None]:
    """Set while the block runs. Wherever the guest is then, it has the values from before: no
    later migration inherits them. Raises `HostError` with QEMU's words when it refuses one."""
    if not settings:
        yield
        return
    monitor = guest.domain.monitor
    before = monitor("query-migrate-parameters")
    monitor("migrate-set-parameters", **{one.name: one.value for one in settings})
    try:
        yield
    finally:
        old = {one.name: before[one.name] for one in settings if one.name in before}
        # a guest that is lost is the migration's trouble, not ours
        with suppress(HostError, GuestError):
            guest.domain.monitor("migrate-set-parameters", **old)


@contextmanager
def downtime(guest: Guest, limit_ms: int | None) -> Iterator[None]:
    """The downtime limit (virDomainMigrateSetMaxDowntime) of a migration in the block. A guest
    that stays at the source has the old one back; one that moves begins with its new QEMU's."""
    if limit_ms is None:
        yield
        return
    source, domain = guest.host, guest.domain
    before = domain.max_downtime()
    domain.set_max_downtime(limit_ms)
    try:
        yield
    finally:
        if guest.host is source:
            with suppress(HostError):  # as above
                domain.set_max_downtime(before)


def definition(xml: str, settings: Sequence[Setting]) -> str | None:
    """Pure: what the destination is to be started from, with `settings` and without those of an
    earlier migration; None where `xml` serves as it is."""
    wanted = at_destination(settings)
    if not wanted and _OURS not in xml:
        return None
    old = etree.fromstring(xml)
    attributes = {str(name): str(value) for name, value in old.attrib.items()}
    root = etree.Element(str(old.tag), attributes, nsmap={"qemu": _SPACE})
    root.extend(list(old))
    line = root.find(f"{{{_SPACE}}}commandline")
    if line is None:
        line = etree.SubElement(root, f"{{{_SPACE}}}commandline")
    found = [str(arg.get("value")) for arg in line]
    kept = _without_ours(found)
    for arg in list(line):
        line.remove(arg)
    for value in (*kept, *(word for one in wanted for word in ("-global", one.argument))):
        etree.SubElement(line, f"{{{_SPACE}}}arg", value=value)
    if not len(line):
        root.remove(line)
    return etree.tostring(root, encoding=str)


def _without_ours(words: Sequence[str]) -> list[str]:
    kept: list[str] = []
    for word in words:
        if word.startswith(_OURS) and kept and kept[-1] == "-global":
            kept.pop()
        else:
            kept.append(word)
    return kept
