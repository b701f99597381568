"""Run all checks of `migqual inventory check` on the hosts of an inventory."""

from collections.abc import Callable, Collection, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from secrets import token_hex

from migqual.errors import MigqualError
from migqual.hosts import clock_offset, reachability
from migqual.hosts.host import Host
from migqual.hosts.journal import Journal
from migqual.inventory.entities import Inventory, PairEntry
from migqual.inventory.guest_size import GuestSize
from migqual.model.finding import Finding, Severity
from migqual.readiness import host_checks, store_checks, trial_guest
from migqual.readiness.check_context import CheckContext
from migqual.readiness.qemu_user_check import check_qemu_users

MAX_CLOCK_DIFFERENCE_S = 5.0
_MAX_PARALLEL = 8


def check_inventory_hosts(
    inventory: Inventory, guest_sizes: Iterable[GuestSize] | None = None
) -> tuple[Finding, ...]:
    """Check all hosts of an inventory for a run: connections, programs, stores, and trial guests.

    A check fails if its finding has the severity `refused`. If the connection check of a host
    fails, the function omits all other checks of the host. The trial guests of a pair need both
    hosts of the pair, the client, the storage servers and the stores. If a check of one of these
    fails, the trial guests do not start. So one fault does not cause several findings.

    Args:
        inventory: The inventory.
        guest_sizes: Sizes of the guests that the run will test. None means the sizes in the
            inventory.

    Returns:
        The findings, in the order of the checks.
    """
    findings = list(reachability.check_reachability(inventory))
    if inventory.client is None:
        message = "the inventory names no client, so no test can measure gaps"
        remedy = "set migqual_client to a host on the service network"
        findings.append(Finding("inventory.client", Severity.REFUSED, message, remedy=remedy))
    with ExitStack() as stack:
        journal = Journal(f"check-{token_hex(3)}", inventory)
        context = CheckContext(
            inventory, journal, inventory.guests if guest_sizes is None else tuple(guest_sizes)
        )
        stack.callback(context.journal.close)
        hosts = {
            name: stack.enter_context(Host(entry))
            for name, entry in inventory.hosts.items()
            if name not in find_refused_names(inventory.hosts, (), findings)
        }
        with ThreadPoolExecutor(_MAX_PARALLEL) as pool:
            host_findings = pool.map(
                lambda host: _collect(host.name, lambda: host_checks.check_host(context, host)),
                hosts.values(),
            )
        findings += [finding for part in host_findings for finding in part]
        findings += _collect("stores", lambda: store_checks.check_stores(context, hosts))
        findings += [
            finding for pair in inventory.pairs for finding in _check_pair(inventory, pair, hosts)
        ]
    ready_pairs = [pair for pair in inventory.pairs if _is_ready(inventory, pair, findings)]
    with ThreadPoolExecutor(_MAX_PARALLEL) as pool:
        pair_findings = pool.map(
            lambda pair: _collect(pair.id, lambda: trial_guest.check_pair(inventory, pair)),
            ready_pairs,
        )
    return (*findings, *(finding for part in pair_findings for finding in part))


def find_refused_names(
    names: Iterable[str], stores: Collection[str], findings: Iterable[Finding]
) -> set[str]:
    """Find the names of the hosts and stores that have a finding of the severity `refused`.

    The id of a finding is ``HOST.CHECK``, ``STORE.HOST`` or ``STORE.sharing``. A name may contain
    dots.
    """
    refused_ids = [finding.id for finding in findings if finding.severity is Severity.REFUSED]
    return {
        name
        for name in names
        if any(
            id_.startswith(f"{name}.") or id_ in {f"{store}.{name}" for store in stores}
            for id_ in refused_ids
        )
    }


def _is_ready(inventory: Inventory, pair: PairEntry, findings: Iterable[Finding]) -> bool:
    """Return whether the pair is ready for the trial guests, which migqual starts as a test.

    A pair needs its two hosts, the client, and all stores of the inventory with their servers. None
    of these hosts and stores may have a finding of the severity `refused`.
    """
    names = {pair.source.name, pair.destination.name, *inventory.store_servers}
    stores = {store.name for store in inventory.stores}
    if inventory.client is None:
        return False
    return not find_refused_names(names | stores | {inventory.client.name}, stores, findings)


def _collect(name: str, check: Callable[[], Iterable[Finding]]) -> list[Finding]:
    """Collect the findings of a check. An error that ends the check is a finding, too."""
    findings: list[Finding] = []
    try:
        findings.extend(check())
    except MigqualError as error:
        remedy = error.remedy or "remove the reported cause, and run the check again"
        findings.append(Finding(f"{name}.end", Severity.UNKNOWN, error.message, remedy=remedy))
    return findings


def _check_pair(inventory: Inventory, pair: PairEntry, hosts: Mapping[str, Host]) -> list[Finding]:
    """Compare the clocks of both hosts of a pair, and the user and group ids (UID, GID) of QEMU.

    With different clocks, a host can refuse a new certificate as not yet valid, and the events of
    both hosts can appear in the wrong order. With different UIDs or GIDs, libvirt can refuse images
    in a shared directory. If a host of the pair is not in `hosts`, the result is empty.
    """
    names = (pair.source.name, pair.destination.name)
    if not all(name in hosts for name in names):
        return []
    source, destination = (hosts[name] for name in names)

    def compare() -> Iterable[Finding]:
        difference_s = clock_offset.measure_clock_difference_us(source, destination) / 1e6
        finding_id = f"{pair.id}.clocks"
        message = f"the clocks of {names[0]} and {names[1]} differ by {difference_s:.1f} s at most"
        if difference_s > MAX_CLOCK_DIFFERENCE_S:
            yield Finding(
                finding_id,
                Severity.REFUSED,
                message,
                {"difference_s": difference_s},
                remedy="synchronize the clocks of both hosts, for example with chrony",
            )
        else:
            yield Finding(finding_id, Severity.OK, message, {"difference_s": difference_s})

    return [
        *_collect(pair.id, compare),
        *_collect(pair.id, lambda: check_qemu_users(inventory, source, destination)),
    ]
