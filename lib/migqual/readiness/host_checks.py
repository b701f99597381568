"""Check programs, folders, the bridge, the emulator and SELinux of a host for a run.

Each check returns findings with remedies. The checks change a host only in the scratch directory:
one check creates the directory if necessary, creates a file in the directory, and removes the file.
"""

from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath

from migqual.architecture import Architecture
from migqual.errors import GuestError, HostError
from migqual.hosts.acceleration import decide_acceleration
from migqual.hosts.address_conflicts import (
    USED_ADDRESS_REMEDY,
    describe_used_addresses,
    find_used_addresses,
)
from migqual.hosts.firmware import find_firmware
from migqual.hosts.host import Host
from migqual.inventory.entities import Acceleration, HostRole, Inventory
from migqual.inventory.stores import DirectoryStore, IscsiStore, LocalStore, NbdStore
from migqual.model.finding import Finding, Severity
from migqual.readiness import guest_size_checks
from migqual.readiness.check_context import CheckContext

# Programs that migqual or its tests run on a host. The value is the name of the package in Debian
# and in openEuler.
HYPERVISOR_PROGRAMS: Mapping[str, str] = {
    "bridge": "iproute2 / iproute",
    "findmnt": "util-linux",
    "ip": "iproute2 / iproute",
    "nft": "nftables",
    "pgrep": "procps / procps-ng",
    "qemu-img": "qemu-utils / qemu-img",
    "qemu-io": "qemu-utils / qemu-img",
    "ss": "iproute2 / iproute",
    "ssh": "openssh-client / openssh-clients",
    "taskset": "util-linux",
    "virsh": "libvirt-clients / libvirt-client",
}
CLIENT_PROGRAMS: Mapping[str, str] = {"bash": "bash", "ip": "iproute2 / iproute"}
NBD_PROGRAMS: Mapping[str, str] = {"qemu-nbd": "qemu-utils / qemu-img"}
ISCSI_PROGRAMS: Mapping[str, str] = {"tgtadm": "tgt / scsi-target-utils"}
MIN_FREE_MIB = 2048
_KIB_PER_MIB = 1024
# Makes the folder $1 and the program $2 in it, and runs the program.
_FOLDER_SCRIPT = """
mkdir -p -- "$1" || exit 3
printf '#!/bin/sh\\n' > "$2" && chmod 700 "$2" || exit 4
"$2" || exit 5
df -Pk -- "$1"
"""
_FOLDER_PROBLEMS = {3: "cannot be created", 4: "is not writable", 5: "is mounted noexec"}


def check_host(context: CheckContext, host: Host) -> Iterator[Finding]:
    """Yield the findings about a host that migqual can log in to.

    Raises:
        HostError: The connection is lost.
    """
    inventory = context.inventory
    yield _check_programs(host, list_programs(inventory, host))
    yield _check_scratch(context, host)
    if inventory.client is not None and inventory.client.name == host.name:
        yield from _check_guest_addresses(inventory, host)
    if HostRole.HYPERVISOR in host.entry.roles:
        yield _check_bridge(host)
        yield _check_emulator(inventory, host)
        yield _check_firmware(host)
        yield from _check_selinux(inventory, host)
        yield from guest_size_checks.check_guest_sizes(host, context.guest_sizes)


def list_programs(inventory: Inventory, host: Host) -> dict[str, str]:
    """List the programs that a run needs on the host, with the package of each program."""
    programs: dict[str, str] = {}
    if HostRole.HYPERVISOR in host.entry.roles:
        programs |= HYPERVISOR_PROGRAMS
    if inventory.client is not None and inventory.client.name == host.name:
        programs |= CLIENT_PROGRAMS
    for store in inventory.stores:
        if isinstance(store, NbdStore) and store.server == host.name:
            programs |= NBD_PROGRAMS
        if isinstance(store, IscsiStore) and store.server == host.name:
            programs |= ISCSI_PROGRAMS
    return programs


def _check_programs(host: Host, programs: Mapping[str, str]) -> Finding:
    finding_id = f"{host.name}.programs"
    script = 'for name; do command -v "$name" >/dev/null || echo "$name"; done'
    missing = host.shell.run("sh", "-c", script, "sh", *programs).stdout.split()
    if missing:
        packages = sorted({programs[name] for name in missing})
        return Finding(
            finding_id,
            Severity.REFUSED,
            f"programs are missing on {host.name}: {', '.join(missing)}",
            remedy=f"install the packages (Debian / openEuler): {'; '.join(packages)}",
        )
    return Finding(
        finding_id, Severity.OK, f"{host.name} has all {len(programs)} programs that a run needs"
    )


def _check_scratch(context: CheckContext, host: Host) -> Finding:
    finding_id, folder = f"{host.name}.scratch", host.entry.scratch
    with context.probe_file(host, folder) as file:
        result = host.shell.run_unchecked("sh", "-c", _FOLDER_SCRIPT, "sh", folder, file)
    if result.status in _FOLDER_PROBLEMS:
        return Finding(
            finding_id,
            Severity.REFUSED,
            f"the folder {folder} of {host.name} {_FOLDER_PROBLEMS[result.status]}",
            remedy="set migqual_scratch to a folder where root may write and run programs",
        )
    return judge_free_space(finding_id, host.name, folder, result.stdout)


def judge_free_space(
    finding_id: str, host_name: str, folder: PurePosixPath, df_output: str
) -> Finding:
    """Judge the free space in a folder for the files of a run, from the output of ``df -Pk``."""
    free_mib = int(df_output.split()[-3]) // _KIB_PER_MIB
    message = f"{free_mib} MiB are free in {folder} of {host_name}"
    if free_mib < MIN_FREE_MIB:
        return Finding(
            finding_id,
            Severity.REFUSED,
            f"{message}, but a run needs {MIN_FREE_MIB} MiB",
            {"free_mib": free_mib},
            remedy=f"free {MIN_FREE_MIB - free_mib} MiB",
        )
    return Finding(finding_id, Severity.OK, message, {"free_mib": free_mib})


def _check_guest_addresses(inventory: Inventory, client: Host) -> Iterator[Finding]:
    """Yield a finding about the addresses of guests, which no other machine may use."""
    finding_id = f"{client.name}.addresses"
    if inventory.service_network is None:
        message = "the inventory has no addresses for guests"
        remedy = "set migqual_service_network to a range of addresses for the guests"
        yield Finding(finding_id, Severity.REFUSED, message, remedy=remedy)
        return
    addresses = [str(address) for address in inventory.service_network.addresses]
    used_addresses = find_used_addresses(client, addresses)
    if used_addresses:
        message = describe_used_addresses(used_addresses)
        yield Finding(finding_id, Severity.REFUSED, message, remedy=USED_ADDRESS_REMEDY)
    else:
        yield Finding(
            finding_id,
            Severity.OK,
            f"no other machine uses the {len(addresses)} addresses for guests",
        )


def _check_bridge(host: Host) -> Finding:
    finding_id, bridge = f"{host.name}.bridge", host.entry.service_bridge
    remedy = (
        "set migqual_service_bridge to a bridge of the host (`ip link show type bridge`, "
        "`ovs-vsctl list-br`)"
    )
    if not bridge:
        message = f"{host.name} has no migqual_service_bridge, so its guests have no network"
        return Finding(finding_id, Severity.REFUSED, message, remedy=remedy)
    link = host.shell.run_unchecked("ip", "-d", "-o", "link", "show", "dev", bridge)
    if link.status != 0:
        return Finding(
            finding_id, Severity.REFUSED, f"{host.name} has no bridge {bridge}", remedy=remedy
        )
    if " bridge " not in link.stdout and not host.has_ovs_bridge:
        message = f"{bridge} of {host.name} is not a Linux bridge and not an Open vSwitch bridge"
        return Finding(finding_id, Severity.REFUSED, message, remedy=remedy)
    if "UP" not in link.stdout.partition("<")[2].partition(">")[0].split(","):
        message = f"the bridge {bridge} of {host.name} is down"
        return Finding(
            finding_id,
            Severity.REFUSED,
            message,
            remedy=f"run `ip link set {bridge} up` on {host.name}",
        )
    kind = "bridge of Open vSwitch" if host.has_ovs_bridge else "bridge"
    return Finding(finding_id, Severity.OK, f"the {kind} {bridge} of {host.name} is up")


def _check_emulator(inventory: Inventory, host: Host) -> Finding:
    """Check that libvirt can start guests with the emulator of the host."""
    finding_id = f"{host.name}.emulator"
    acceleration = decide_acceleration(inventory.acceleration, inventory.tier)
    try:
        emulator = host.names.emulator
        architecture = host.guest_architecture
        host.libvirt.query_domain_capabilities(
            emulator=emulator,
            arch=architecture.value,
            machine=architecture.machine_type,
            virt_type="kvm" if acceleration is Acceleration.KVM else "qemu",
        )
    except HostError as error:
        return Finding(
            finding_id,
            Severity.REFUSED,
            f"libvirt of {host.name} cannot start guests: {error.message}",
            remedy="set migqual_emulator to the path of QEMU on the host, or install QEMU",
        )
    return Finding(finding_id, Severity.OK, f"libvirt can start guests with {emulator}")


def _check_firmware(host: Host) -> Finding:
    """Check the UEFI firmware. On x86 a missing firmware is a warning.

    x86 hosts need the firmware for one requirement only.
    """
    finding_id = f"{host.name}.firmware"
    try:
        architecture = host.guest_architecture
        firmware = find_firmware(host, architecture, architecture.machine_type)
    except GuestError as error:
        severity = Severity.WARNING if architecture is Architecture.X86_64 else Severity.REFUSED
        return Finding(finding_id, severity, error.message, remedy=error.remedy)
    return Finding(finding_id, Severity.OK, f"{host.name} has the UEFI firmware {firmware.code}")


def _check_selinux(inventory: Inventory, host: Host) -> Iterator[Finding]:
    """Yield a finding if SELinux forbids QEMU to open images on NFS."""
    if host.shell.run_unchecked("getenforce").stdout.strip() != "Enforcing":
        return
    folders = [
        store.path for store in inventory.stores if isinstance(store, DirectoryStore | LocalStore)
    ]
    for folder in folders:
        file_system = host.shell.run_unchecked("stat", "-f", "-c", "%T", folder).stdout.strip()
        boolean = host.shell.run_unchecked("getsebool", "virt_use_nfs").stdout.strip()
        if file_system == "nfs" and boolean.endswith("off"):
            yield Finding(
                f"{host.name}.selinux",
                Severity.REFUSED,
                f"SELinux of {host.name} forbids QEMU to open images on NFS ({folder})",
                remedy="run `setsebool -P virt_use_nfs on` on the host",
            )
