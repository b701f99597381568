"""Build libvirt's flags, typed parameters and the equivalent virsh command for a migration plan.

The numbers of the flags and the names of the parameters come from libvirt's public API
(virDomainMigrateFlags, VIR_MIGRATE_PARAM_*). A selftest compares the numbers and names with
libvirt's Python binding. The functions are pure.
"""

import shlex
from dataclasses import dataclass
from enum import IntFlag
from typing import Any

from migqual.model.guest_spec import Persistence
from migqual.model.plan import (
    Arrival,
    Compression,
    Control,
    DefinitionPolicy,
    Plan,
    Safety,
    StorageCopy,
    WriteMode,
)
from migqual.model.qemu_parameter import render_set_parameters_command, select_for_destination


class MigrateFlag(IntFlag):
    """Migration flags with the numbers of virDomainMigrateFlags."""

    LIVE = 1 << 0
    PEER2PEER = 1 << 1
    PERSIST_DEST = 1 << 3
    UNDEFINE_SOURCE = 1 << 4
    PAUSED = 1 << 5
    NON_SHARED_DISK = 1 << 6
    NON_SHARED_INC = 1 << 7
    UNSAFE = 1 << 9
    COMPRESSED = 1 << 11
    AUTO_CONVERGE = 1 << 13
    POSTCOPY = 1 << 15
    TLS = 1 << 16
    PARALLEL = 1 << 17
    NON_SHARED_SYNCHRONOUS_WRITES = 1 << 18
    POSTCOPY_RESUME = 1 << 19


@dataclass(frozen=True)
class DestinationEndpoint:
    """Addresses of the destination of a migration.

    Attributes:
        libvirt_uri: URI of the destination's libvirt. In a direct migration, the controller
            connects to the URI. In a peer-to-peer migration, the source connects to the URI.
        migrate_uri: Address to which QEMU sends guest memory, ``tcp://ADDRESS``.
    """

    libvirt_uri: str
    migrate_uri: str


def moves_definition(plan: Plan, persistence: Persistence) -> bool:
    """Return whether the persistent definition of the guest moves to the destination."""
    return plan.definition is DefinitionPolicy.MOVES and persistence is Persistence.PERSISTENT


def build_migrate_flags(plan: Plan, persistence: Persistence) -> MigrateFlag:
    """Build the migration flags for `plan`.

    Args:
        plan: Plan of the migration.
        persistence: Persistence of the guest. A transient guest gets no PERSIST_DEST and no
            UNDEFINE_SOURCE, because libvirt stores no definition of the guest.
    """
    flags = MigrateFlag.LIVE
    with_definition = moves_definition(plan, persistence)
    for flag, is_set in (
        (MigrateFlag.PEER2PEER, plan.control is Control.PEER_TO_PEER),
        (MigrateFlag.PERSIST_DEST, with_definition),
        (MigrateFlag.UNDEFINE_SOURCE, with_definition),
        (MigrateFlag.UNSAFE, plan.safety is Safety.UNSAFE),
        (MigrateFlag.TLS, plan.tls),
        (MigrateFlag.PARALLEL, plan.channels > 0),
        (MigrateFlag.COMPRESSED, plan.compression is not Compression.NONE),
        (MigrateFlag.AUTO_CONVERGE, plan.auto_converge is not None),
        (MigrateFlag.POSTCOPY, plan.postcopy),
        (MigrateFlag.POSTCOPY_RESUME, plan.postcopy_resume),
        (MigrateFlag.NON_SHARED_DISK, plan.copy_storage is StorageCopy.ALL),
        (MigrateFlag.NON_SHARED_INC, plan.copy_storage is StorageCopy.INCREMENTAL),
        (MigrateFlag.NON_SHARED_SYNCHRONOUS_WRITES, plan.write_mode is WriteMode.SYNCHRONOUS),
        (MigrateFlag.PAUSED, plan.arrival is Arrival.PAUSED),
    ):
        if is_set:
            flags |= flag
    return flags


def build_typed_parameters(plan: Plan, endpoint: DestinationEndpoint) -> dict[str, Any]:
    """Build the typed parameters for virDomainMigrate3 or virDomainMigrateToURI3.

    Returns:
        Value by libvirt's parameter name. Bandwidths are in MiB/s.
    """
    parameters: dict[str, Any] = {"migrate_uri": endpoint.migrate_uri}
    if plan.bandwidth_mib_s is not None:
        parameters["bandwidth"] = plan.bandwidth_mib_s
    if plan.channels:
        parameters["parallel.connections"] = plan.channels
    if plan.auto_converge is not None:
        if plan.auto_converge.initial_percent is not None:
            parameters["auto_converge.initial"] = plan.auto_converge.initial_percent
        if plan.auto_converge.increment_percent is not None:
            parameters["auto_converge.increment"] = plan.auto_converge.increment_percent
    if plan.migrate_disks:
        parameters["migrate_disks"] = list(plan.migrate_disks)
    optional_values = {
        "tls.destination": plan.tls_destination,
        "bandwidth.postcopy": plan.postcopy_bandwidth_mib_s,
        "disks_port": plan.disks_port,
        "disks_uri": plan.disks_uri,
        "destination_xml": plan.destination_xml,
    }
    parameters |= {name: value for name, value in optional_values.items() if value is not None}
    return parameters | plan.compression.build_compression_parameters(plan.compression_options)


def build_virsh_migrate(
    plan: Plan,
    persistence: Persistence,
    *,
    source_uri: str,
    domain: str,
    endpoint: DestinationEndpoint,
    has_other_names: bool = False,
) -> list[str]:
    """Build the `virsh migrate` command for the migration of `domain` with `plan`.

    If the domain XML for the destination differs from the domain XML of the source, the command
    reads the file ``destination.xml``. The user must create this file before.

    Args:
        plan: Plan of the migration.
        persistence: Persistence of the guest.
        source_uri: libvirt URI of the source.
        domain: Name of the guest.
        endpoint: Addresses of the destination.
        has_other_names: True if the QEMU path or the guest bridge of the destination differs from
            the source.

    Returns:
        The command as a list of arguments.
    """
    flags = build_migrate_flags(plan, persistence)
    argv = ["virsh", "-c", source_uri, "migrate", "--live"]
    argv += [option for flag, option in VIRSH_OPTIONS.items() if flag in flags]
    argv += plan.compression.build_virsh_options(plan.compression_options)
    if plan.postcopy_after_precopy:
        argv.append("--postcopy-after-precopy")
    argv += _build_auto_converge_options(plan)
    if plan.timeout is not None:
        argv += ["--timeout", f"{plan.timeout.seconds:g}"]
        argv.append(f"--timeout-{plan.timeout.action}")
    argv += _build_value_options(plan)
    if has_other_names or plan.destination_xml or select_for_destination(plan.qemu_parameters):
        argv += ["--xml", DESTINATION_XML_FILE]
    if has_other_names and moves_definition(plan, persistence):
        argv += ["--persistent-xml", DESTINATION_XML_FILE]
    return [*argv, domain, endpoint.libvirt_uri, "--migrateuri", endpoint.migrate_uri]


def build_virsh_monitor_command(plan: Plan, *, source_uri: str, domain: str) -> list[str]:
    """Build the virsh command that sets the QEMU parameters of `plan` at the source.

    The user runs the command before the migration. The command does not set the parameters of
    the destination's QEMU, because the domain XML for the destination contains these parameters.

    Returns:
        The command as a list of arguments. The list is empty if the plan sets no QEMU parameter.
    """
    if not plan.qemu_parameters:
        return []
    message = render_set_parameters_command(plan.qemu_parameters)
    return ["virsh", "-c", source_uri, "qemu-monitor-command", domain, message]


def format_shell_command(argv: list[str]) -> str:
    """Format a list of arguments as a shell command line."""
    return shlex.join(argv)


VIRSH_OPTIONS = {
    MigrateFlag.PEER2PEER: "--p2p",
    MigrateFlag.PERSIST_DEST: "--persistent",
    MigrateFlag.UNDEFINE_SOURCE: "--undefinesource",
    MigrateFlag.UNSAFE: "--unsafe",
    MigrateFlag.TLS: "--tls",
    MigrateFlag.PARALLEL: "--parallel",
    MigrateFlag.AUTO_CONVERGE: "--auto-converge",
    MigrateFlag.POSTCOPY: "--postcopy",
    MigrateFlag.POSTCOPY_RESUME: "--postcopy-resume",
    MigrateFlag.NON_SHARED_DISK: "--copy-storage-all",
    MigrateFlag.NON_SHARED_INC: "--copy-storage-inc",
    MigrateFlag.NON_SHARED_SYNCHRONOUS_WRITES: "--copy-storage-synchronous-writes",
    MigrateFlag.PAUSED: "--suspend",
}
# File name for `--xml` and `--persistent-xml`. The user saves the domain XML for the destination
# under this name.
DESTINATION_XML_FILE = "destination.xml"


def _build_value_options(plan: Plan) -> list[str]:
    values = {
        "--parallel-connections": plan.channels or None,
        "--bandwidth": plan.bandwidth_mib_s,
        "--postcopy-bandwidth": plan.postcopy_bandwidth_mib_s,
        "--tls-destination": plan.tls_destination,
        "--migrate-disks": ",".join(plan.migrate_disks) or None,
        "--disks-port": plan.disks_port,
        "--disks-uri": plan.disks_uri,
    }
    options = [(option, str(value)) for option, value in values.items() if value is not None]
    return [word for option in options for word in option]


def _build_auto_converge_options(plan: Plan) -> list[str]:
    options: list[str] = []
    if plan.auto_converge is None:
        return options
    if plan.auto_converge.initial_percent is not None:
        options += ["--auto-converge-initial", str(plan.auto_converge.initial_percent)]
    if plan.auto_converge.increment_percent is not None:
        options += ["--auto-converge-increment", str(plan.auto_converge.increment_percent)]
    return options
