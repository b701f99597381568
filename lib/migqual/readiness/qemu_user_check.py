"""Check that QEMU has the same user and group numbers on both hosts of a shared directory."""

from collections.abc import Iterator

from migqual.hosts.host import Host
from migqual.inventory.entities import Inventory
from migqual.inventory.stores import DirectoryStore
from migqual.model.finding import Finding, Severity


def check_qemu_users(inventory: Inventory, source: Host, destination: Host) -> Iterator[Finding]:
    """Yield a finding about the user and group numbers of QEMU, if the pair shares a directory.

    The numbers come from libvirt's capabilities (secmodel `dac`).

    Raises:
        HostError: libvirt of a host does not answer.
    """
    names = {source.name, destination.name}
    if any(isinstance(one, DirectoryStore) and names <= set(one.hosts) for one in inventory.stores):
        yield compare_qemu_users(
            (source.name, destination.name), _query_dac_label(source), _query_dac_label(destination)
        )


def _query_dac_label(host: Host) -> str:
    """Query ``+UID:+GID`` of QEMU's processes; empty if libvirt does not change file owners."""
    return host.libvirt.query_capabilities().findtext("host/secmodel[model='dac']/baselabel") or ""


def compare_qemu_users(names: tuple[str, str], source_label: str, other_label: str) -> Finding:
    """Compare libvirt's labels ``+UID:+GID`` of two hosts.

    libvirt makes QEMU's user the owner of an image. If the numbers of two hosts differ, the second
    host sees another owner of an image on a shared file system. libvirt of the second host can then
    refuse the image as "already in use".
    """
    finding_id = f"{names[0]}-{names[1]}.qemu-user"
    if source_label == other_label:
        message = f"QEMU has the same user and group ({source_label or 'unknown'}) on both hosts"
        return Finding(finding_id, Severity.OK, message)
    return Finding(
        finding_id,
        Severity.WARNING,
        f"QEMU's user and group are {source_label or 'unknown'} on {names[0]} and "
        f"{other_label or 'unknown'} on {names[1]}: libvirt can refuse images in a shared "
        "directory",
        {names[0]: source_label, names[1]: other_label},
        remedy="give QEMU's user and group (`user` and `group` of qemu.conf) the same numbers on "
        "both hosts",
    )
