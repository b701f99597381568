"""Check an inventory for unknown host names, missing files, and contradicting values.

The checks leave out a value of a wrong type or form, because an earlier check reports the value.
"""

from collections.abc import Iterable, Iterator
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from pathlib import Path

from migqual.errors import InputProblem
from migqual.inventory.draft import ALL_VARS_LOCATION, HostDraft, InventoryDraft
from migqual.inventory.entities import (
    Acceleration,
    CertificateSource,
    HostRole,
    IPAddress,
    Tier,
)
from migqual.inventory.field_types import is_ip_address, normalize_address
from migqual.inventory.guest_size import find_image_problems
from migqual.inventory.schema import (
    DirectoryStoreSchema,
    IscsiStoreSchema,
    NbdStoreSchema,
    ServiceNetworkSchema,
)
from migqual.yaml_file import Location

# A test starts up to three guests. The guest of the fixture `shared_idle_guest` may also run.
MIN_ADDRESSES_PER_PAIR = 4
GROUP_AND_OTHER_BITS = 0o077  # permission bits of the group and of other users


def find_inventory_problems(draft: InventoryDraft) -> list[InputProblem]:
    """Find unknown host names, missing files, and contradicting values in `draft`."""
    checks = (
        _check_pairs,
        _check_stores,
        _check_addresses,
        _check_service_bridges,
        _check_known_hosts,
        _check_private_keys,
        _check_ssh_configs,
        _check_certificates,
        _check_client,
    )
    problems = [problem for check in checks for problem in check(draft)]
    problems += [*_check_service_network(draft), *_check_acceleration(draft)]
    return [*problems, *_check_guest_images(draft)]


def _check_pairs(draft: InventoryDraft) -> Iterator[InputProblem]:
    if "all" in draft.tree.group_locations and "migqual_pairs" not in draft.raw_values:
        yield draft.make_problem((*ALL_VARS_LOCATION, "migqual_pairs"), "missing")
    listed_pairs = set()
    for location, pair in draft.pairs:
        ends = (pair.source, pair.destination)
        for end, name in zip(("source", "destination"), ends, strict=True):
            yield from _check_hypervisor(draft, (*location, end), name)
        if pair.source == pair.destination:
            yield draft.make_problem(
                location, f"source and destination are the same host: {pair.source}"
            )
        if ends in listed_pairs:
            yield draft.make_problem(
                location, f"the pair {pair.source} -> {pair.destination} is listed twice"
            )
        listed_pairs.add(ends)
    yield from _check_replicas(draft)


def _check_replicas(draft: InventoryDraft) -> Iterator[InputProblem]:
    """Check that only a lab has replicas, and that each replica names an original pair.

    A replica is an additional pair that runs a share of the tests of the original pair. A verdict
    on real hosts must come from tests on exactly these hosts, so real hosts have no replicas.
    """
    original_pair_ids = {
        f"{pair.source}-{pair.destination}" for _, pair in draft.pairs if pair.replica_of is None
    }
    for location, pair in draft.pairs:
        if pair.replica_of is None:
            continue
        if draft.all_variables.migqual_tier is not Tier.LAB:
            yield draft.make_problem(
                (*location, "replica_of"),
                "only the pairs of a lab (migqual_tier: lab) can be replicas",
            )
        if pair.replica_of not in original_pair_ids:
            yield draft.make_problem(
                (*location, "replica_of"), f"migqual_pairs contains no pair {pair.replica_of!r}"
            )


def _check_hypervisor(
    draft: InventoryDraft, location: Location, name: str
) -> Iterator[InputProblem]:
    if name not in draft.hosts:
        yield draft.make_problem(location, f"no host {name!r}")
    elif HostRole.HYPERVISOR not in draft.hosts[name].roles:
        yield draft.make_problem(
            location, f"the host {name} is not in the group {HostRole.HYPERVISOR.group!r}"
        )


def _check_stores(draft: InventoryDraft) -> Iterator[InputProblem]:
    store_names = set()
    for location, store in draft.stores:
        if store.name in store_names:
            yield draft.make_problem(
                (*location, "name"), f"another store has the name {store.name!r}"
            )
        store_names.add(store.name)
        if isinstance(store, NbdStoreSchema | IscsiStoreSchema) and store.server not in draft.hosts:
            yield draft.make_problem((*location, "server"), f"no host {store.server!r}")
        if isinstance(store, DirectoryStoreSchema):
            for index, name in enumerate(store.hosts or ()):
                yield from _check_hypervisor(draft, (*location, "hosts", index), name)


def _check_addresses(draft: InventoryDraft) -> Iterator[InputProblem]:
    yield from _check_duplicate_addresses(draft, "ansible_host", draft.hosts.values())
    hypervisors = [host for host in draft.hosts.values() if HostRole.HYPERVISOR in host.roles]
    yield from _check_duplicate_addresses(draft, "migqual_migration_address", hypervisors)
    for host in hypervisors:
        address = host.migration_address
        if is_ip_address(address) and (message := _describe_unusable_address(ip_address(address))):
            yield draft.make_host_value_problem(host, "migqual_migration_address", message)


def _describe_unusable_address(address: IPAddress) -> str:
    """Describe why no other machine can use `address`, or return an empty text."""
    if address.is_loopback:
        return f"{address} is a loopback address, which no other machine can reach"
    if address.version == 6 and address.is_link_local:
        return f"{address} is a link-local address; give a global or a unique local address"
    return ""


def _check_duplicate_addresses(
    draft: InventoryDraft, variable: str, hosts: Iterable[HostDraft]
) -> Iterator[InputProblem]:
    first_hosts: dict[str, str] = {}
    for host in hosts:
        address = host.address if variable == "ansible_host" else host.migration_address
        text = normalize_address(address).lower()
        if text in first_hosts:
            message = f"{host.node.name} and {first_hosts[text]} have the same address {address}"
            yield draft.make_host_value_problem(host, variable, message)
        first_hosts.setdefault(text, host.node.name)


def _check_service_bridges(draft: InventoryDraft) -> Iterator[InputProblem]:
    paired_host_names = {
        name for _, pair in draft.pairs for name in (pair.source, pair.destination)
    }
    for name, host in draft.hosts.items():
        if name in paired_host_names and not host.raw_values.get("migqual_service_bridge"):
            yield draft.make_host_value_problem(host, "migqual_service_bridge", "missing")


def _check_known_hosts(draft: InventoryDraft) -> Iterator[InputProblem]:
    name = "migqual_known_hosts"
    hosts_without_file = [host for host in draft.hosts.values() if name not in host.raw_values]
    if hosts_without_file and len(hosts_without_file) == len(draft.hosts):
        yield draft.make_problem(
            (*ALL_VARS_LOCATION, name),
            "the variable is missing; give a known_hosts file with the host keys of all hosts",
        )
    else:
        yield from (
            draft.make_host_value_problem(host, name, "missing") for host in hosts_without_file
        )
    yield from _check_files_exist(draft, name)


def _check_files_exist(draft: InventoryDraft, name: str) -> Iterator[InputProblem]:
    for host in draft.hosts.values():
        path = draft.resolve_path(host, name)
        if path is not None and not _is_file(path):
            yield draft.make_host_value_problem(host, name, f"no such file: {path}")


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # migqual has no permission to search a folder of the path
        return False


def _check_private_keys(draft: InventoryDraft) -> Iterator[InputProblem]:
    name = "ansible_ssh_private_key_file"
    yield from _check_files_exist(draft, name)
    for host in draft.hosts.values():
        path = draft.resolve_path(host, name)
        if (
            path is not None
            and _is_file(path)
            and (mode := path.stat().st_mode & GROUP_AND_OTHER_BITS)
        ):
            message = (
                f"other users have access to the private key (permission bits {mode:03o}); "
                f"run chmod 600 {path}"
            )
            yield draft.make_host_value_problem(host, name, message)


def _check_ssh_configs(draft: InventoryDraft) -> Iterator[InputProblem]:
    yield from _check_files_exist(draft, "migqual_ssh_config")


def _check_client(draft: InventoryDraft) -> Iterator[InputProblem]:
    name = draft.all_variables.migqual_client
    clients = [host.node.name for host in draft.hosts.values() if HostRole.CLIENT in host.roles]
    if name and name not in draft.hosts:
        yield draft.make_all_vars_problem("migqual_client", (), f"no host {name!r}")
    elif len(clients) > 1 and "migqual_client" not in draft.raw_values:
        message = f"several hosts are clients; set migqual_client to one of {', '.join(clients)}"
        yield draft.make_all_vars_problem("migqual_client", (), message)


def _check_certificates(draft: InventoryDraft) -> Iterator[InputProblem]:
    """Check that `migqual_certificates: issued` is in force only for exclusive hosts.

    A host is exclusive if `migqual_exclusive` is true, or if the host is part of a lab.
    """
    for host in draft.hosts.values():
        is_exclusive = (
            host.variables.migqual_exclusive or draft.all_variables.migqual_tier is Tier.LAB
        )
        if host.variables.migqual_certificates is CertificateSource.ISSUED and not is_exclusive:
            message = (
                "migqual restarts libvirt's daemon to use issued certificates; set "
                "migqual_exclusive: true if nobody else uses the host during a run"
            )
            yield draft.make_host_value_problem(host, "migqual_certificates", message)


def _check_service_network(draft: InventoryDraft) -> Iterator[InputProblem]:
    entry = draft.all_variables.migqual_service_network
    if entry is None:
        return
    name = "migqual_service_network"
    first_address = entry.addresses[0]
    if entry.prefix > first_address.max_prefixlen:
        message = (
            f"an IPv{first_address.version} prefix has at most {first_address.max_prefixlen} bits, "
            f"not {entry.prefix}"
        )
        yield draft.make_all_vars_problem(name, ("prefix",), message)
        return
    network = ip_network(f"{first_address}/{entry.prefix}", strict=False)
    for address in entry.addresses:
        if address not in network:
            yield draft.make_all_vars_problem(
                name, ("addresses",), f"the address {address} is not in the subnet {network}"
            )
            break
    for address, purpose in _list_reserved_addresses(network).items():
        if address in entry.addresses:
            message = f"{address} is the {purpose} address of {network}"
            yield draft.make_all_vars_problem(name, ("addresses",), message)
    if message := _describe_unusable_address(first_address):
        yield draft.make_all_vars_problem(name, ("addresses",), message)
    if entry.gateway is not None and entry.gateway not in network:
        yield draft.make_all_vars_problem(
            name, ("gateway",), f"the gateway {entry.gateway} is not in the subnet {network}"
        )
    if len(entry.addresses) < MIN_ADDRESSES_PER_PAIR * len(draft.pairs):
        message = (
            f"{len(entry.addresses)} addresses are too few: each of the {len(draft.pairs)} pairs "
            f"needs {MIN_ADDRESSES_PER_PAIR}, because guests run at the same time"
        )
        yield draft.make_all_vars_problem(name, ("addresses",), message)
    yield from _check_guest_addresses(draft, entry)


def _list_reserved_addresses(network: IPv4Network | IPv6Network) -> dict[IPAddress, str]:
    """Return the reserved addresses of a network, each with the word `network` or `broadcast`.

    An IPv6 network has no broadcast address (RFC 4291, 2.6.1).
    """
    if network.num_addresses <= 2:
        return {}
    if isinstance(network, IPv6Network):
        return {network.network_address: "network"}
    return {network.network_address: "network", network.broadcast_address: "broadcast"}


def _check_guest_addresses(
    draft: InventoryDraft, entry: ServiceNetworkSchema
) -> Iterator[InputProblem]:
    address_owners: dict[IPAddress, str] = {}
    for host in draft.hosts.values():
        for address_text in (host.address, host.migration_address):
            if is_ip_address(address_text):
                address_owners[ip_address(address_text)] = host.node.name
    if entry.gateway is not None:
        address_owners[entry.gateway] = "the gateway"
    for address in entry.addresses:
        if address in address_owners:
            message = (
                f"{address} belongs to {address_owners[address]}, so a guest cannot use the address"
            )
            yield draft.make_all_vars_problem("migqual_service_network", ("addresses",), message)


def _check_guest_images(draft: InventoryDraft) -> Iterator[InputProblem]:
    folder = draft.tree.document.file.absolute().parent
    for index, message in find_image_problems(draft.all_variables.migqual_guests, folder):
        yield draft.make_all_vars_problem("migqual_guests", (index, "image"), message)


def _check_acceleration(draft: InventoryDraft) -> Iterator[InputProblem]:
    requested, expected = (
        draft.all_variables.migqual_acceleration,
        draft.all_variables.migqual_expected_acceleration,
    )
    if expected not in {None, Acceleration.AUTO, requested} and requested is not Acceleration.AUTO:
        message = f"{expected} is expected, but migqual_acceleration is {requested}"
        yield draft.make_all_vars_problem("migqual_expected_acceleration", (), message)
