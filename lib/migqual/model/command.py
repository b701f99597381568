"""Pure: from a plan to libvirt's flags, typed parameters, and the equivalent virsh command.

Numbers and names are those of libvirt's public API (virDomainMigrateFlags, VIR_MIGRATE_PARAM_*);
a selftest holds them against the binding.
"""

import shlex
from dataclasses import dataclass
from enum import IntFlag
from typing import Any

from migqual.model.guest import Persistence
from migqual.model.plan import Arrival, Control, Definition, Plan, Safety, StorageCopy, Writes
from migqual.model.setting import at_destination, monitor_command


class Flag(IntFlag):
    """virDomainMigrateFlags."""

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


@dataclass(frozen=True)
class Endpoint:
    """How the destination is reached.

    uri          libvirt of the destination: from the controller (direct) or the source (p2p)
    migrate_uri  where guest memory goes, ``tcp://ADDRESS``
    """

    uri: str
    migrate_uri: str


def flags(plan: Plan, persistence: Persistence) -> Flag:
    """The flags of `plan` for a guest that is persistent or transient."""
    found = Flag.LIVE
    moves = plan.definition is Definition.MOVES and persistence is Persistence.PERSISTENT
    for flag, wanted in (
        (Flag.PEER2PEER, plan.control is Control.PEER_TO_PEER),
        (Flag.PERSIST_DEST, moves),
        (Flag.UNDEFINE_SOURCE, moves),
        (Flag.UNSAFE, plan.safety is Safety.UNSAFE),
        (Flag.TLS, plan.tls),
        (Flag.PARALLEL, plan.channels > 0),
        (Flag.COMPRESSED, plan.compression.value != "none"),
        (Flag.AUTO_CONVERGE, plan.auto_converge is not None),
        (Flag.POSTCOPY, plan.postcopy),
        (Flag.NON_SHARED_DISK, plan.copy_storage is StorageCopy.ALL),
        (Flag.NON_SHARED_INC, plan.copy_storage is StorageCopy.INCREMENTAL),
        (Flag.NON_SHARED_SYNCHRONOUS_WRITES, plan.writes is Writes.BOTH_ENDS),
        (Flag.PAUSED, plan.arrival is Arrival.PAUSED),
    ):
        if wanted:
            found |= flag
    return found


def parameters(plan: Plan, endpoint: Endpoint) -> dict[str, Any]:
    """Typed parameters of virDomainMigrate3 / virDomainMigrateToURI3."""
    found: dict[str, Any] = {"migrate_uri": endpoint.migrate_uri}
    if plan.bandwidth_mib_s is not None:
        found["bandwidth"] = plan.bandwidth_mib_s
    if plan.channels:
        found["parallel.connections"] = plan.channels
    if plan.auto_converge is not None:
        if plan.auto_converge.initial_percent is not None:
            found["auto_converge.initial"] = plan.auto_converge.initial_percent
        if plan.auto_converge.increment_percent is not None:
            found["auto_converge.increment"] = plan.auto_converge.increment_percent
    if plan.migrate_disks:
        found["migrate_disks"] = list(plan.migrate_disks)
    others = {
        "tls.destination": plan.tls_destination,
        "bandwidth.postcopy": plan.postcopy_bandwidth_mib_s,
        "disks_port": plan.disks_port,
        "disks_uri": plan.disks_uri,
        "destination_xml": plan.destination_xml,
    }
    found |= {name: value for name, value in others.items() if value is not None}
    return found | plan.compression.parameters(plan.tuning)


def virsh(
    plan: Plan, persistence: Persistence, *, source_uri: str, domain: str, endpoint: Endpoint
) -> list[str]:
    """The virsh command that does the same, as an argument vector."""
    wanted = flags(plan, persistence)
    words = ["virsh", "-c", source_uri, "migrate", "--live"]
    for flag, option in OPTIONS.items():
        if flag in wanted:
            words.append(option)
    words += plan.compression.options(plan.tuning)
    if plan.postcopy_after_precopy:
        words.append("--postcopy-after-precopy")
    words += _converge(plan)
    if plan.timeout is not None:
        words += ["--timeout", f"{plan.timeout.seconds:g}"]
        words.append(f"--timeout-{plan.timeout.action}")
    for option, value in (
        ("--parallel-connections", plan.channels or None),
        ("--bandwidth", plan.bandwidth_mib_s),
        ("--postcopy-bandwidth", plan.postcopy_bandwidth_mib_s),
        ("--tls-destination", plan.tls_destination),
        ("--migrate-disks", ",".join(plan.migrate_disks) or None),
        ("--disks-port", plan.disks_port),
        ("--disks-uri", plan.disks_uri),
    ):
        if value is not None:
            words += [option, str(value)]
    if plan.destination_xml is not None or at_destination(plan.settings):
        words += ["--xml", DESTINATION_XML]
    return [*words, domain, endpoint.uri, "--migrateuri", endpoint.migrate_uri]


def virsh_before(plan: Plan, *, source_uri: str, domain: str) -> list[str]:
    """The virsh command that has to come first: what libvirt has no option for goes through the
    monitor. Empty where the plan sets nothing of the kind.

    What the destination is started with is in the definition that `--xml` names, as arguments of
    QEMU: ``-global migration.NAME=VALUE``.
    """
    if not plan.settings:
        return []
    message = monitor_command(plan.settings)
    return ["virsh", "-c", source_uri, "qemu-monitor-command", domain, message]


def spelled(words: list[str]) -> str:
    """An argument vector as a person types it."""
    return shlex.join(words)


OPTIONS = {
    Flag.PEER2PEER: "--p2p",
    Flag.PERSIST_DEST: "--persistent",
    Flag.UNDEFINE_SOURCE: "--undefinesource",
    Flag.UNSAFE: "--unsafe",
    Flag.TLS: "--tls",
    Flag.PARALLEL: "--parallel",
    Flag.AUTO_CONVERGE: "--auto-converge",
    Flag.POSTCOPY: "--postcopy",
    Flag.NON_SHARED_DISK: "--copy-storage-all",
    Flag.NON_SHARED_INC: "--copy-storage-inc",
    Flag.NON_SHARED_SYNCHRONOUS_WRITES: "--copy-storage-synchronous-writes",
    Flag.PAUSED: "--suspend",
}
# where a person puts the definition that the record holds
DESTINATION_XML = "destination.xml"


def _converge(plan: Plan) -> list[str]:
    words: list[str] = []
    if plan.auto_converge is None:
        return words
    if plan.auto_converge.initial_percent is not None:
        words += ["--auto-converge-initial", str(plan.auto_converge.initial_percent)]
    if plan.auto_converge.increment_percent is not None:
        words += ["--auto-converge-increment", str(plan.auto_converge.increment_percent)]
    return words
