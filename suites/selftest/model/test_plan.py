"""A plan becomes libvirt's flags and parameters, and the equivalent virsh command."""

import re
from typing import Any

import libvirt
import pytest

from migqual.errors import UsageError
from migqual.model import libvirt_call
from migqual.model.guest_spec import Persistence
from migqual.model.libvirt_call import DestinationEndpoint, MigrateFlag
from migqual.model.plan import (
    Arrival,
    AutoConverge,
    Compression,
    CompressionOptions,
    Control,
    DefinitionPolicy,
    DestinationImages,
    Plan,
    Safety,
    StorageCopy,
    Timeout,
    TimeoutAction,
    WriteMode,
)

pytestmark = pytest.mark.selftest

DESTINATION = DestinationEndpoint("qemu+ssh://b/system", "tcp://10.0.0.2")
PERSISTENT_FLAGS = MigrateFlag.PERSIST_DEST | MigrateFlag.UNDEFINE_SOURCE
BASE_FLAGS = MigrateFlag.LIVE | MigrateFlag.PEER2PEER | PERSISTENT_FLAGS

# Values of a case: the plan, the flags without BASE_FLAGS, the typed parameters without the
# address, and the options of virsh.
PLAN_CASES: dict[str, tuple[Plan, MigrateFlag, dict[str, Any], str]] = {
    "plain": (Plan(), MigrateFlag(0), {}, "--live --p2p"),
    "unsafe": (Plan(safety=Safety.UNSAFE), MigrateFlag.UNSAFE, {}, "--unsafe"),
    "tls": (Plan(tls=True), MigrateFlag.TLS, {}, "--tls"),
    "multi-channel-tls": (
        Plan(tls=True, channels=4),
        MigrateFlag.TLS | MigrateFlag.PARALLEL,
        {"parallel.connections": 4},
        "--parallel-connections 4",
    ),
    "auto-converge": (
        Plan(auto_converge=AutoConverge()),
        MigrateFlag.AUTO_CONVERGE,
        {},
        "--auto-converge",
    ),
    "auto-converge-initial": (
        Plan(auto_converge=AutoConverge(30, 15)),
        MigrateFlag.AUTO_CONVERGE,
        {"auto_converge.initial": 30, "auto_converge.increment": 15},
        "--auto-converge-initial 30 --auto-converge-increment 15",
    ),
    "timeout": (Plan(timeout=Timeout(5)), MigrateFlag(0), {}, "--timeout 5 --timeout-suspend"),
    "timeout-postcopy": (
        Plan(postcopy=True, timeout=Timeout(5, TimeoutAction.POSTCOPY)),
        MigrateFlag.POSTCOPY,
        {},
        "--timeout 5 --timeout-postcopy",
    ),
    "bandwidth": (Plan(bandwidth_mib_s=500), MigrateFlag(0), {"bandwidth": 500}, "--bandwidth 500"),
    "copy-all-disks": (
        Plan(copy_storage=StorageCopy.ALL),
        MigrateFlag.NON_SHARED_DISK,
        {},
        "--copy-storage-all",
    ),
    "copy-named-disks": (
        Plan(copy_storage=StorageCopy.ALL, migrate_disks=("sda", "sdb")),
        MigrateFlag.NON_SHARED_DISK,
        {"migrate_disks": ["sda", "sdb"]},
        "--copy-storage-all --migrate-disks sda,sdb",
    ),
    "copy-top-layer": (
        Plan(copy_storage=StorageCopy.INCREMENTAL),
        MigrateFlag.NON_SHARED_INC,
        {},
        "--copy-storage-inc",
    ),
    "synchronous-writes": (
        Plan(copy_storage=StorageCopy.ALL, write_mode=WriteMode.SYNCHRONOUS),
        MigrateFlag.NON_SHARED_DISK | MigrateFlag.NON_SHARED_SYNCHRONOUS_WRITES,
        {},
        "--copy-storage-all --copy-storage-synchronous-writes",
    ),
    "disks-port": (
        Plan(copy_storage=StorageCopy.ALL, disks_port=49200),
        MigrateFlag.NON_SHARED_DISK,
        {"disks_port": 49200},
        "--copy-storage-all --disks-port 49200",
    ),
    "disks-uri": (
        Plan(copy_storage=StorageCopy.ALL, disks_uri="tcp://10.0.0.2:49200"),
        MigrateFlag.NON_SHARED_DISK,
        {"disks_uri": "tcp://10.0.0.2:49200"},
        "--copy-storage-all --disks-uri tcp://10.0.0.2:49200",
    ),
    "images-present": (
        Plan(copy_storage=StorageCopy.ALL, destination_images=DestinationImages.EXISTING),
        MigrateFlag.NON_SHARED_DISK,
        {},
        "--copy-storage-all",
    ),
    "arrives-paused": (Plan(arrival=Arrival.PAUSED), MigrateFlag.PAUSED, {}, "--suspend"),
    "destination-xml": (
        Plan(destination_xml="<domain/>"),
        MigrateFlag(0),
        {"destination_xml": "<domain/>"},
        "--xml destination.xml",
    ),
    "mt-level": (
        Plan(compression=Compression.MT, compression_options=CompressionOptions(level=3)),
        MigrateFlag.COMPRESSED,
        {"compression": ["mt"], "compression.mt.level": 3},
        "--compressed --comp-methods mt --comp-mt-level 3",
    ),
    "mt-threads": (
        Plan(
            compression=Compression.MT,
            compression_options=CompressionOptions(threads=4, decompress_threads=1),
        ),
        MigrateFlag.COMPRESSED,
        {"compression": ["mt"], "compression.mt.threads": 4, "compression.mt.dthreads": 1},
        "--compressed --comp-methods mt --comp-mt-threads 4 --comp-mt-dthreads 1",
    ),
    "xbzrle-cache": (
        Plan(
            compression=Compression.XBZRLE,
            compression_options=CompressionOptions(cache_bytes=2**24),
        ),
        MigrateFlag.COMPRESSED,
        {"compression": ["xbzrle"], "compression.xbzrle.cache": 2**24},
        "--compressed --comp-methods xbzrle --comp-xbzrle-cache 16777216",
    ),
    "tls-destination": (
        Plan(tls=True, tls_destination="b.example"),
        MigrateFlag.TLS,
        {"tls.destination": "b.example"},
        "--tls --tls-destination b.example",
    ),
    "postcopy-after-precopy": (
        Plan(postcopy=True, postcopy_after_precopy=True),
        MigrateFlag.POSTCOPY,
        {},
        "--postcopy --postcopy-after-precopy",
    ),
    "postcopy-bandwidth": (
        Plan(postcopy=True, postcopy_bandwidth_mib_s=8),
        MigrateFlag.POSTCOPY,
        {"bandwidth.postcopy": 8},
        "--postcopy --postcopy-bandwidth 8",
    ),
    "zstd": (
        Plan(compression=Compression.ZSTD, channels=2),
        MigrateFlag.COMPRESSED | MigrateFlag.PARALLEL,
        {"compression": ["zstd"], "parallel.connections": 2},
        "--compressed --comp-methods zstd",
    ),
}


@pytest.mark.parametrize("name", PLAN_CASES)
def test_plan_becomes_flags_parameters_and_command(name: str) -> None:
    """Every option of a plan becomes a flag or a parameter of libvirt, and an option of virsh.

    The report prints the virsh command, which starts the same migration by hand.
    """
    plan, flags, parameters, options = PLAN_CASES[name]

    command_line = _format_virsh_command(plan)

    assert libvirt_call.build_migrate_flags(plan, Persistence.PERSISTENT) == BASE_FLAGS | flags
    assert libvirt_call.build_typed_parameters(plan, DESTINATION) == {
        "migrate_uri": DESTINATION.migrate_uri,
        **parameters,
    }
    for part in re.split(r" (?=--)", options):
        assert f" {part} " in command_line


def test_every_migrate_flag_has_a_virsh_option() -> None:
    """Every flag of a plan is visible in the printed virsh command."""
    flags_without_option = {MigrateFlag.LIVE, MigrateFlag.COMPRESSED}
    for plan, *_ in PLAN_CASES.values():
        arguments = _format_virsh_command(plan).split()
        for flag in libvirt_call.build_migrate_flags(plan, Persistence.PERSISTENT):
            assert flag in flags_without_option or libvirt_call.VIRSH_OPTIONS[flag] in arguments


@pytest.mark.parametrize("flag", list(MigrateFlag), ids=lambda flag: flag.name)
def test_migrate_flags_match_libvirt(flag: MigrateFlag) -> None:
    """The numbers of `MigrateFlag` are the numbers of libvirt's public API."""
    names = {"PEER2PEER": "PEER2PEER", "PERSIST_DEST": "PERSIST_DEST"}
    assert flag == getattr(libvirt, f"VIR_MIGRATE_{names.get(flag.name or '', flag.name)}")


@pytest.mark.parametrize(
    ("name", "constant"),
    [
        ("migrate_uri", "URI"),
        ("bandwidth", "BANDWIDTH"),
        ("parallel.connections", "PARALLEL_CONNECTIONS"),
        ("auto_converge.initial", "AUTO_CONVERGE_INITIAL"),
        ("auto_converge.increment", "AUTO_CONVERGE_INCREMENT"),
        ("migrate_disks", "MIGRATE_DISKS"),
        ("disks_port", "DISKS_PORT"),
        ("disks_uri", "DISKS_URI"),
        ("destination_xml", "DEST_XML"),
        ("compression", "COMPRESSION"),
        ("compression.mt.level", "COMPRESSION_MT_LEVEL"),
        ("compression.mt.threads", "COMPRESSION_MT_THREADS"),
        ("compression.mt.dthreads", "COMPRESSION_MT_DTHREADS"),
        ("compression.xbzrle.cache", "COMPRESSION_XBZRLE_CACHE"),
        ("tls.destination", "TLS_DESTINATION"),
        ("bandwidth.postcopy", "BANDWIDTH_POSTCOPY"),
    ],
)
def test_migrate_parameters_match_libvirt(name: str, constant: str) -> None:
    """migqual's names of migration parameters are the names in libvirt's public API."""
    assert name == getattr(libvirt, f"VIR_MIGRATE_PARAM_{constant}")


def test_transient_guest_has_no_persistence_flags() -> None:
    """The migration of a transient guest moves no persistent definition."""
    assert not libvirt_call.build_migrate_flags(Plan(), Persistence.TRANSIENT) & PERSISTENT_FLAGS


def test_definition_can_stay_at_the_source() -> None:
    """A plan can leave the definition at the source."""
    assert (
        not libvirt_call.build_migrate_flags(
            Plan(definition=DefinitionPolicy.STAYS), Persistence.PERSISTENT
        )
        & PERSISTENT_FLAGS
    )


def test_direct_migration_is_driven_by_the_controller() -> None:
    """A managed direct migration has no peer-to-peer flag."""
    assert MigrateFlag.PEER2PEER not in libvirt_call.build_migrate_flags(
        Plan(control=Control.DIRECT), Persistence.TRANSIENT
    )


@pytest.mark.parametrize(
    "plan_fields",
    [
        {"channels": -1},
        {"compression": Compression.ZSTD},
        {"compression": Compression.XBZRLE, "compression_options": CompressionOptions(level=1)},
        {"tls_destination": "b.example"},
        {"postcopy_bandwidth_mib_s": 8},
        {"postcopy_after_precopy": True},
        {"timeout": Timeout(1, TimeoutAction.POSTCOPY)},
        {"migrate_disks": ("vda",)},
        {"disks_port": 49200},
        {"destination_images": DestinationImages.EXISTING},
        {"copy_storage": StorageCopy.ALL, "disks_port": 1, "disks_uri": "tcp://10.0.0.2:1"},
    ],
    ids=[
        *(
            "negative-channels",
            "zstd-without-channels",
            "xbzrle-with-level",
            "tls-destination-without-tls",
        ),
        *("bandwidth-without-postcopy", "after-precopy-without-postcopy"),
        *("postcopy-timeout", "disks-without-copy"),
        *("port-without-copy", "images-without-copy", "port-and-uri"),
    ],
)
def test_impossible_plans_are_refused(plan_fields: dict[str, Any]) -> None:
    """An impossible plan is an error with a remedy, before any request to a host."""
    with pytest.raises(UsageError) as error_info:
        Plan(**plan_fields)

    assert error_info.value.remedy


def test_plan_lists_non_default_fields() -> None:
    """Only the fields of a plan that differ from the defaults are listed, as plain data."""
    assert Plan().list_non_default_fields() == {}
    assert Plan(tls=True, channels=2).list_non_default_fields() == {"tls": True, "channels": 2}


def _format_virsh_command(plan: Plan) -> str:
    arguments = libvirt_call.build_virsh_migrate(
        plan,
        Persistence.PERSISTENT,
        source_uri="qemu+ssh://a/system",
        domain="guest",
        endpoint=DESTINATION,
    )
    return f"{libvirt_call.format_shell_command(arguments)} "
