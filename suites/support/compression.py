"""Shared code of the compression tests: data to compress, and bytes counted on the link."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any

from migqual.errors import (
    HostError,
    InconclusiveError,
    MigqualError,
    MigrationRefused,
    UnsupportedError,
)
from migqual.hosts import network_link, qemu_probe
from migqual.hosts.guest import Guest
from migqual.hosts.host import Host
from migqual.model import throughput
from migqual.model.guest_spec import GuestLoad, GuestSpec, MemoryLoad, PageContent
from migqual.model.migration_features import (
    MigrationFeatures,
    describe_missing_features,
    is_unsupported_message,
)
from migqual.model.outcome import Outcome
from migqual.model.plan import Compression, Plan, Timeout
from migqual.model.qemu_parameter import ParameterValue
from migqual.testbed.host_pair import HostPair
from migqual.testbed.testbed import Testbed
from suites.support.unsupported import raise_unsupported_if

# Compressible data must take at most this share of the bytes of a plain migration.
# Incompressible data may take at most 102 %: the excess is for the method's own headers.
MAX_COMPRESSED_SHARE = 0.8
MAX_INCOMPRESSIBLE_SHARE = 1.02
# On a busy host the highest levels may compress more slowly than the guest dirties memory. The
# tests do not judge the speed: the guest is suspended after this time, and the remaining pages
# get enough time.
SUSPEND_TIMEOUT = Timeout(30)
SLOW_METHOD_DEADLINE_S = 300.0
# Some pages change all the time, so that every round has pages to send.
DIRTYING_GUEST = GuestSpec(load=GuestLoad("dirtying", memory=MemoryLoad(size_mib=8, rate_mib_s=2)))


@dataclass(frozen=True)
class CountedMigration:
    """A migration with the kernel's count of the bytes on the link."""

    outcome: Outcome
    link_bytes: int

    @property
    def reported_bytes(self) -> int:
        """Return the number of bytes sent according to the job statistics."""
        return self.outcome.stats.memory_processed_bytes or 0

    @property
    def normal_pages(self) -> int:
        """Return the number of pages sent without compression, according to the job statistics.

        Raises:
            InconclusiveError: libvirt did not report the number.
        """
        return require_statistic(self.outcome.stats.normal_pages, "pages sent without compression")

    @property
    def byte_mismatch(self) -> str:
        """Describe a mismatch of `link_bytes` and `reported_bytes`; return "" if both agree.

        For compressed pages, an older QEMU reports the size before compression. So with
        compression, it is no mismatch if `link_bytes` is smaller than `reported_bytes`.
        """
        plan = self.outcome.plan
        if not self.reported_bytes:
            return "the job did not report how many bytes it sent"
        if plan.compression is Compression.NONE and not plan.qemu_parameters:
            return throughput.describe_byte_mismatch(self.link_bytes, self.reported_bytes)
        return throughput.describe_byte_mismatch(self.link_bytes, self.reported_bytes, min_share=0)


def require_statistic(value: int | None, description: str) -> int:
    """Return the value of a job statistic.

    Raises:
        InconclusiveError: libvirt did not report the statistic. An absent number is not 0.
    """
    if value is None:
        raise InconclusiveError(f"the job statistics of libvirt lack the number of {description}")
    return value


@cache
def get_qemu_offer(host: Host) -> MigrationFeatures:
    """Return the migration features of the host's QEMU, read once per test run.

    The features do not change while the tests run.
    """
    return qemu_probe.query_migration_features(host)


def list_qemu_offers(pair: HostPair) -> tuple[MigrationFeatures, ...]:
    """Return the migration features of QEMU on both hosts."""
    return tuple(get_qemu_offer(host) for host in pair.hosts)


def require_parameter(pair: HostPair, name: str, value: ParameterValue) -> None:
    """Require QEMU on both hosts to support the value of the migration parameter.

    The function reads which parameters and values QEMU lists, and then sets the value. Both steps
    use a QEMU without a guest. If both hosts list the value, the function raises no error.

    Raises:
        UnsupportedError: At least one host does not list the value, and at least one host refuses
            the value. The error contains QEMU's message.
        AssertionError: At least one host does not list the value, but both hosts accept the value.
            So QEMU's list is wrong.
    """
    missing_message = "; ".join(
        filter(
            None,
            (offer.describe_missing_parameter(name, value) for offer in list_qemu_offers(pair)),
        )
    )
    refusals = [
        message
        for host in pair.hosts
        if (message := qemu_probe.find_parameter_refusal(host, name, value))
    ]
    if missing_message and refusals:
        raise UnsupportedError(f"{refusals[0]}; {missing_message}")
    assert not missing_message, f"QEMU accepts {name} {value}, although {missing_message}"


def migrate_and_count_bytes(
    testbed: Testbed,
    guest: Guest,
    plan: Plan,
    **migrate_options: Any,  # noqa: ANN401
) -> CountedMigration:
    """Migrate the guest to the other host and count the bytes on the link.

    Args:
        migrate_options: Keyword arguments for `Testbed.migrate`.

    Raises:
        UnsupportedError: A host lacks a feature of the plan, and libvirt or QEMU refuses the
            migration. The error contains the message of libvirt or QEMU.
        InconclusiveError: Other traffic used the interface, or the job reported no bytes. Then the
            byte counts cannot be used.
        AssertionError: The migration succeeds although a host lacks a feature of the plan.
    """
    source = guest.host
    destination = testbed.pair.get_peer(source)
    missing_message = describe_missing_features(plan, list_qemu_offers(testbed.pair))
    bytes_before = network_link.read_sent_bytes(source, destination)

    def is_feature_missing(error: MigqualError) -> bool:
        if missing_message:
            return isinstance(error, (MigrationRefused, HostError))
        return isinstance(error, MigrationRefused) and is_unsupported_message(error.message)

    with raise_unsupported_if(is_feature_missing, explanation=missing_message):
        outcome = testbed.migrate(guest, plan, **migrate_options)
    assert not missing_message, f"the migration was not refused, although {missing_message}"
    migration = CountedMigration(
        outcome, network_link.read_sent_bytes(source, destination) - bytes_before
    )
    if migration.byte_mismatch:
        raise InconclusiveError(migration.byte_mismatch)
    return migration


@contextmanager
def fill_memory(guest: Guest, load: MemoryLoad) -> Iterator[None]:
    """Fill guest memory with the data of the load while the `with` block runs.

    After the `with` block, every page of the data is verified, and the memory is freed.
    """
    name = f"{load.content}-data"
    guest.run_payload_command("memory", "start", name, *load.payload_arguments)
    yield
    reply = guest.run_payload_command("memory", "verify", name)
    assert reply["checked"], "no page was checked"
    assert not reply["bad"], f"{reply['bad']} bad pages of {reply['checked']}"
    guest.run_payload_command("memory", "free", name)


def make_text_load(mib: int) -> MemoryLoad:
    """Make a memory load of unchanging, highly compressible text."""
    return MemoryLoad(size_mib=mib, content=PageContent.TEXT)


def query_migration_parameters(guest: Guest) -> dict[str, Any]:
    """Return the reply of QMP `query-migrate-parameters` from the guest's current host."""
    reply: dict[str, Any] = guest.domain.run_qmp_command("query-migrate-parameters")
    return reply


@dataclass(frozen=True)
class ParameterState:
    """The migration parameters of a guest, and the host on which they were in force."""

    host: str
    values: Mapping[str, Any]


def read_parameter_state(guest: Guest) -> ParameterState:
    """Read the migration parameters of a guest on the guest's current host."""
    return ParameterState(guest.host.name, query_migration_parameters(guest))


def list_changed_parameters(guest: Guest, before: ParameterState) -> dict[str, tuple[Any, Any]]:
    """List the migration parameters whose value changed, each with the old and the new value.

    If the guest is now on another host, only the parameters that both QEMU versions have are
    compared.
    """
    now = read_parameter_state(guest)
    names = before.values.keys() | now.values.keys()
    if now.host != before.host:
        names = before.values.keys() & now.values.keys()
    return {
        name: (before.values.get(name), now.values.get(name))
        for name in sorted(names)
        if before.values.get(name) != now.values.get(name)
    }


def has_no_effect(
    plain_migration: CountedMigration, compressed_migration: CountedMigration
) -> bool:
    """Return whether compression had no effect on compressible data.

    Compression has no effect if the migration took more than 80 % of the bytes of a plain
    migration.
    """
    return compressed_migration.link_bytes > plain_migration.link_bytes * MAX_COMPRESSED_SHARE
