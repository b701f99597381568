"""Set a plan's QEMU parameters for a migration, and restore the old values afterwards."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

from lxml import etree

from migqual.errors import GuestError, HostError
from migqual.hosts.guest import Guest
from migqual.model.qemu_parameter import QemuParameter, select_for_destination

_QEMU_NAMESPACE = "http://libvirt.org/schemas/domain/qemu/1.0"
_MIGRATION_PREFIX = "migration."


@contextmanager
def apply_settings(guest: Guest, settings: Sequence[QemuParameter]) -> Iterator[None]:
    """Set migration parameters in the QEMU of the guest during the block.

    After the block, the QEMU on the guest's current host gets the values from before the block,
    so later migrations do not use the new values.

    Args:
        guest: The guest to migrate.
        settings: The parameters of the plan.

    Raises:
        HostError: QEMU refuses a parameter. The error holds QEMU's message.
    """
    if not settings:
        yield
        return
    monitor = guest.domain.run_qmp_command
    previous_values = monitor("query-migrate-parameters")
    monitor("migrate-set-parameters", **{setting.name: setting.value for setting in settings})
    try:
        yield
    finally:
        values_to_restore = {
            one.name: previous_values[one.name] for one in settings if one.name in previous_values
        }
        # if the guest is lost, the migration raises an error; a second error must not hide it
        with suppress(HostError, GuestError):
            guest.domain.run_qmp_command("migrate-set-parameters", **values_to_restore)


@contextmanager
def limit_downtime(guest: Guest, limit_ms: int | None) -> Iterator[None]:
    """Limit the downtime of a migration during the block (virDomainMigrateSetMaxDowntime).

    After the block, a guest still at the source gets the previous limit back. A migrated guest
    has the default limit of the QEMU at the destination.

    Args:
        guest: The guest to migrate.
        limit_ms: The downtime limit in ms; None leaves the limit unchanged.
    """
    if limit_ms is None:
        yield
        return
    source, domain = guest.host, guest.domain
    previous_limit_ms = domain.query_max_downtime_ms()
    domain.set_max_downtime(limit_ms)
    try:
        yield
    finally:
        if guest.host is source:
            with suppress(HostError):  # a second error must not hide the first
                domain.set_max_downtime(previous_limit_ms)


def set_parameters_in_xml(xml: str, settings: Sequence[QemuParameter]) -> str | None:
    """Build the domain XML for the destination, with the QEMU parameters of the plan.

    Parameters of an earlier migration are removed. The function has no side effects.

    Args:
        xml: The domain XML of the source.
        settings: The parameters of the plan.

    Returns:
        The new XML, or None when `xml` needs no change.
    """
    destination_settings = select_for_destination(settings)
    if not destination_settings and _MIGRATION_PREFIX not in xml:
        return None
    old_root = etree.fromstring(xml)
    attributes = {str(name): str(value) for name, value in old_root.attrib.items()}
    root = etree.Element(str(old_root.tag), attributes, nsmap={"qemu": _QEMU_NAMESPACE})
    root.extend(list(old_root))
    commandline = root.find(f"{{{_QEMU_NAMESPACE}}}commandline")
    if commandline is None:
        commandline = etree.SubElement(root, f"{{{_QEMU_NAMESPACE}}}commandline")
    arguments = [str(arg_element.get("value")) for arg_element in commandline]
    foreign_arguments = _drop_migration_globals(arguments)
    for arg in list(commandline):
        commandline.remove(arg)
    for value in (
        *foreign_arguments,
        *(
            argument
            for setting in destination_settings
            for argument in ("-global", setting.global_argument)
        ),
    ):
        etree.SubElement(commandline, f"{{{_QEMU_NAMESPACE}}}arg", value=value)
    if not len(commandline):
        root.remove(commandline)
    return etree.tostring(root, encoding=str)


def _drop_migration_globals(arguments: Sequence[str]) -> list[str]:
    foreign_arguments: list[str] = []
    for argument in arguments:
        if (
            argument.startswith(_MIGRATION_PREFIX)
            and foreign_arguments
            and foreign_arguments[-1] == "-global"
        ):
            foreign_arguments.pop()
        else:
            foreign_arguments.append(argument)
    return foreign_arguments
