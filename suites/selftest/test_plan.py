"""A plan becomes libvirt's flags and parameters, and the virsh command that does the same."""

import re
from typing import Any

import libvirt
import pytest

from migqual.errors import UsageError
from migqual.model import command
from migqual.model.command import Endpoint, Flag
from migqual.model.guest import Persistence
from migqual.model.plan import (
    Arrival,
    AutoConverge,
    Compression,
    Control,
    Definition,
    Images,
    Plan,
    Safety,
    StorageCopy,
    Timeout,
    TimeoutAction,
    Tuning,
    Writes,
)

pytestmark = pytest.mark.selftest

WHERE = Endpoint("qemu+ssh://b/system", "tcp://10.0.0.2")
PERSISTENT = Flag.PERSIST_DEST | Flag.UNDEFINE_SOURCE
BASE = Flag.LIVE | Flag.PEER2PEER | PERSISTENT

# plan, flags beyond the base, typed parameters beyond the address, virsh's words
CASES: dict[str, tuple[Plan, Flag, dict[str, Any], str]] = {
    "plain": (Plan(), Flag(0), {}, "--live --p2p"),
    "unsafe": (Plan(safety=Safety.UNSAFE), Flag.UNSAFE, {}, "--unsafe"),
    "tls": (Plan(tls=True), Flag.TLS, {}, "--tls"),
    "multi-channel-tls": (
        Plan(tls=True, channels=4),
        Flag.TLS | Flag.PARALLEL,
        {"parallel.connections": 4},
        "--parallel-connections 4",
    ),
    "auto-converge": (
        Plan(auto_converge=AutoConverge()),
        Flag.AUTO_CONVERGE,
        {},
        "--auto-converge",
    ),
    "auto-converge-initial": (
        Plan(auto_converge=AutoConverge(30, 15)),
        Flag.AUTO_CONVERGE,
        {"auto_converge.initial": 30, "auto_converge.increment": 15},
        "--auto-converge-initial 30 --auto-converge-increment 15",
    ),
    "timeout": (Plan(timeout=Timeout(5)), Flag(0), {}, "--timeout 5 --timeout-suspend"),
    "timeout-postcopy": (
        Plan(postcopy=True, timeout=Timeout(5, TimeoutAction.POSTCOPY)),
        Flag.POSTCOPY,
        {},
        "--timeout 5 --timeout-postcopy",
    ),
    "bandwidth": (Plan(bandwidth_mib_s=500), Flag(0), {"bandwidth": 500}, "--bandwidth 500"),
    "copy-all-disks": (
        Plan(copy_storage=StorageCopy.ALL),
        Flag.NON_SHARED_DISK,
        {},
        "--copy-storage-all",
    ),
    "copy-named-disks": (
        Plan(copy_storage=StorageCopy.ALL, migrate_disks=("sda", "sdb")),
        Flag.NON_SHARED_DISK,
        {"migrate_disks": ["sda", "sdb"]},
        "--copy-storage-all --migrate-disks sda,sdb",
    ),
    "copy-top-layer": (
        Plan(copy_storage=StorageCopy.INCREMENTAL),
        Flag.NON_SHARED_INC,
        {},
        "--copy-storage-inc",
    ),
    "synchronous-writes": (
        Plan(copy_storage=StorageCopy.ALL, writes=Writes.BOTH_ENDS),
        Flag.NON_SHARED_DISK | Flag.NON_SHARED_SYNCHRONOUS_WRITES,
        {},
        "--copy-storage-all --copy-storage-synchronous-writes",
    ),
    "disks-port": (
        Plan(copy_storage=StorageCopy.ALL, disks_port=49200),
        Flag.NON_SHARED_DISK,
        {"disks_port": 49200},
        "--copy-storage-all --disks-port 49200",
    ),
    "disks-uri": (
        Plan(copy_storage=StorageCopy.ALL, disks_uri="tcp://10.0.0.2:49200"),
        Flag.NON_SHARED_DISK,
        {"disks_uri": "tcp://10.0.0.2:49200"},
        "--copy-storage-all --disks-uri tcp://10.0.0.2:49200",
    ),
    "images-present": (
        Plan(copy_storage=StorageCopy.ALL, images=Images.PRESENT),
        Flag.NON_SHARED_DISK,
        {},
        "--copy-storage-all",
    ),
    "arrives-paused": (Plan(arrival=Arrival.PAUSED), Flag.PAUSED, {}, "--suspend"),
    "other-definition": (
        Plan(destination_xml="<domain/>"),
        Flag(0),
        {"destination_xml": "<domain/>"},
        "--xml destination.xml",
    ),
    "mt-level": (
        Plan(compression=Compression.MT, tuning=Tuning(level=3)),
        Flag.COMPRESSED,
        {"compression": ["mt"], "compression.mt.level": 3},
        "--compressed --comp-methods mt --comp-mt-level 3",
    ),
    "mt-threads": (
        Plan(compression=Compression.MT, tuning=Tuning(threads=4, decompress_threads=1)),
        Flag.COMPRESSED,
        {"compression": ["mt"], "compression.mt.threads": 4, "compression.mt.dthreads": 1},
        "--compressed --comp-methods mt --comp-mt-threads 4 --comp-mt-dthreads 1",
    ),
    "xbzrle-cache": (
        Plan(compression=Compression.XBZRLE, tuning=Tuning(cache_bytes=2**24)),
        Flag.COMPRESSED,
        {"compression": ["xbzrle"], "compression.xbzrle.cache": 2**24},
        "--compressed --comp-methods xbzrle --comp-xbzrle-cache 16777216",
    ),
    "tls-destination": (
        Plan(tls=True, tls_destination="b.example"),
        Flag.TLS,
        {"tls.destination": "b.example"},
        "--tls --tls-destination b.example",
    ),
    "postcopy-after-precopy": (
        Plan(postcopy=True, postcopy_after_precopy=True),
        Flag.POSTCOPY,
        {},
        "--postcopy --postcopy-after-precopy",
    ),
    "postcopy-bandwidth": (
        Plan(postcopy=True, postcopy_bandwidth_mib_s=8),
        Flag.POSTCOPY,
        {"bandwidth.postcopy": 8},
        "--postcopy --postcopy-bandwidth 8",
    ),
    "zstd": (
        Plan(compression=Compression.ZSTD, channels=2),
        Flag.COMPRESSED | Flag.PARALLEL,
        {"compression": ["zstd"], "parallel.connections": 2},
        "--compressed --comp-methods zstd",
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_plan_becomes_flags_parameters_and_command(name: str) -> None:
    """Every option of a plan reaches libvirt, and the virsh command says the same."""
    plan, flags, parameters, words = CASES[name]

    spelled = _virsh(plan)

    assert command.flags(plan, Persistence.PERSISTENT) == BASE | flags
    assert command.parameters(plan, WHERE) == {"migrate_uri": WHERE.migrate_uri, **parameters}
    for part in re.split(r" (?=--)", words):
        assert f" {part} " in spelled


def test_every_flag_of_a_plan_has_its_option() -> None:
    """No flag is set that the printed virsh command does not show."""
    silent = {Flag.LIVE, Flag.COMPRESSED}
    for plan, *_ in CASES.values():
        words = _virsh(plan).split()
        for flag in command.flags(plan, Persistence.PERSISTENT):
            assert flag in silent or command.OPTIONS[flag] in words


@pytest.mark.parametrize("flag", list(Flag), ids=lambda flag: flag.name)
def test_flags_are_those_of_libvirt(flag: Flag) -> None:
    """Our numbers are the numbers of libvirt's public API."""
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
def test_parameters_are_those_of_libvirt(name: str, constant: str) -> None:
    """Our parameter names are those of libvirt's public API."""
    assert name == getattr(libvirt, f"VIR_MIGRATE_PARAM_{constant}")


def test_transient_guest_is_defined_nowhere() -> None:
    """A transient guest takes no definition along."""
    assert not command.flags(Plan(), Persistence.TRANSIENT) & PERSISTENT


def test_definition_may_stay() -> None:
    """A plan may leave the definition at the source."""
    assert not command.flags(Plan(definition=Definition.STAYS), Persistence.PERSISTENT) & PERSISTENT


def test_direct_migration_is_driven_by_the_controller() -> None:
    """Managed direct: no peer-to-peer flag."""
    assert Flag.PEER2PEER not in command.flags(Plan(control=Control.DIRECT), Persistence.TRANSIENT)


@pytest.mark.parametrize(
    "choices",
    [
        {"channels": -1},
        {"compression": Compression.ZSTD},
        {"compression": Compression.XBZRLE, "tuning": Tuning(level=1)},
        {"tls_destination": "b.example"},
        {"postcopy_bandwidth_mib_s": 8},
        {"postcopy_after_precopy": True},
        {"timeout": Timeout(1, TimeoutAction.POSTCOPY)},
        {"migrate_disks": ("vda",)},
        {"disks_port": 49200},
        {"images": Images.PRESENT},
        {"copy_storage": StorageCopy.ALL, "disks_port": 1, "disks_uri": "tcp://10.0.0.2:1"},
    ],
    ids=[
        *("negative-channels", "zstd-without-channels", "level-of-xbzrle", "name-without-tls"),
        *("bandwidth-without-postcopy", "after-precopy-without-postcopy"),
        *("postcopy-timeout", "disks-without-copy"),
        *("port-without-copy", "images-without-copy", "port-and-uri"),
    ],
)
def test_impossible_plans_are_refused(choices: dict[str, Any]) -> None:
    """A plan that no stack can carry out is an error with a remedy, before any host is asked."""
    with pytest.raises(UsageError) as refused:
        Plan(**choices)

    assert refused.value.remedy


def test_plan_tells_what_was_chosen() -> None:
    """Records hold what differs from the default, as plain data."""
    assert Plan().chosen() == {}
    assert Plan(tls=True, channels=2).chosen() == {"tls": True, "channels": 2}


def _virsh(plan: Plan) -> str:
    words = command.virsh(
        plan,
        Persistence.PERSISTENT,
        source_uri="qemu+ssh://a/system",
        domain="guest",
        endpoint=WHERE,
    )
    return f"{command.spelled(words)} "
