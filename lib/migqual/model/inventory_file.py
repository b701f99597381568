"""An inventory file -> `Inventory`, or everything that is wrong with the file at once."""

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from migqual.errors import Fault
from migqual.model.inventory import (
    DirectoryStore,
    Host,
    Inventory,
    IscsiStore,
    LocalStore,
    NbdStore,
    Pair,
    Role,
    ServiceNetwork,
    Setting,
    Store,
)
from migqual.model.inventory_checks import VARS, Draft, HostDraft, crossed
from migqual.model.inventory_schema import (
    STORE_ENTRIES,
    AllVariables,
    DirectoryEntry,
    HostVariables,
    IscsiEntry,
    LocalEntry,
    PairEntry,
    ServiceNetworkEntry,
    StoreEntry,
)
from migqual.model.inventory_tree import ALL_NAMES, Tree, Value, Values, overrides, walk
from migqual.model.yamlfile import Document, Location, check, problems, raise_all, read

Model = TypeVar("Model", bound=BaseModel)

REMEDY = "docs/inventory.md describes every variable"
PATHS = ("ansible_ssh_private_key_file", "migqual_known_hosts", "migqual_ssh_config")


def load_inventory(
    file: Path,
    *,
    environ: Mapping[str, str] | None = None,
    assignments: Sequence[str] = (),
) -> Inventory:
    """Read the inventory at `file`.

    environ      variables that may override it; the process's own by default
    assignments  ``name=value`` from the command line; they win over everything

    Connects to nothing. Raises `InventoryError` with every fault at once, `UsageError` for an
    assignment that cannot be understood.
    """
    outside = overrides(os.environ if environ is None else environ, assignments)
    document = read(file)
    draft, faults = _draft(walk(document), outside)
    raise_all(document, [*document.faults, *faults, *crossed(draft)], remedy=REMEDY)
    return _inventory(draft)


def _draft(tree: Tree, outside: Values) -> tuple[Draft, list[Fault]]:
    values = {k: v for k, v in (tree.everywhere | outside).items() if k in ALL_NAMES}
    lists = {name: values.get(name) for name in ("migqual_pairs", "migqual_stores")}
    faults = list(tree.faults)
    everywhere = _valid(
        AllVariables, {k: v for k, v in values.items() if k not in lists}, tree.document, faults
    )
    hosts = {}
    for name, member in tree.members.items():
        own = member.values(tree.everywhere, outside)
        hosts[name] = HostDraft(member, own, _valid(HostVariables, own, tree.document, faults))
    pairs = [
        (location, pair)
        for location, raw in _elements(lists["migqual_pairs"], tree.document, faults)
        if (pair := _entry(PairEntry, raw, location, tree.document, faults))
    ]
    stores = [
        (location, store)
        for location, raw in _elements(lists["migqual_stores"], tree.document, faults)
        if (store := _store_entry(raw, location, tree.document, faults))
    ]
    return Draft(tree, values, everywhere, hosts, pairs, stores), faults


def _valid(model: type[Model], values: Values, document: Document, faults: list[Fault]) -> Model:
    """`values` as a `model`, less those that are wrong, which are told in `faults`."""
    data = {name: value.raw for name, value in values.items()}
    try:
        return model.model_validate(data)
    except ValidationError as error:
        for (name, *within), words in problems(error, data):
            faults.append(values[str(name)].fault(document, tuple(within), words))
            data.pop(str(name), None)
    return model.model_validate(data)


def _elements(
    value: Value | None, document: Document, faults: list[Fault]
) -> Iterator[tuple[Location, object]]:
    if value is None or value.location is None:
        return
    if not isinstance(value.raw, list) or not value.raw:
        faults.append(document.fault(value.location, "not a list, or an empty one"))
        return
    for at, raw in enumerate(value.raw):
        yield (*value.location, at), raw


def _entry(
    model: type[Model], raw: object, at: Location, document: Document, faults: list[Fault]
) -> Model | None:
    found, wrong = check(model, raw, document, at)
    faults += wrong
    return found


def _store_entry(
    raw: object, at: Location, document: Document, faults: list[Fault]
) -> StoreEntry | None:
    kind = raw.get("kind") if isinstance(raw, dict) else None
    if not isinstance(kind, str) or kind not in STORE_ENTRIES:
        words = f"not a kind of store; one of {', '.join(STORE_ENTRIES)}"
        faults.append(document.fault((*at, "kind"), words))
        return None
    model: type[StoreEntry] = STORE_ENTRIES[kind]
    return _entry(model, raw, at, document, faults)


def _inventory(draft: Draft) -> Inventory:
    hosts = {name: _host(draft, host) for name, host in draft.hosts.items()}
    client = draft.client()
    pairs = [
        Pair(hosts[pair.source], hosts[pair.destination], pair.twin_of or "")
        for _, pair in draft.pairs
    ]
    return Inventory(
        hosts=hosts,
        pairs=tuple(pair for pair in pairs if not pair.twin_of),
        twins=tuple(pair for pair in pairs if pair.twin_of),
        stores=tuple(_store(store, draft) for _, store in draft.stores),
        client=hosts[client.member.name] if client else None,
        service_network=_network(draft.everywhere.migqual_service_network),
        tier=draft.everywhere.migqual_tier,
        acceleration=draft.everywhere.migqual_acceleration,
        guest_cpu=draft.everywhere.migqual_guest_cpu,
        expected_acceleration=draft.everywhere.migqual_expected_acceleration,
        file=draft.tree.document.file.absolute(),
        settings=tuple(_settings(draft)),
    )


def _network(entry: ServiceNetworkEntry | None) -> ServiceNetwork | None:
    return ServiceNetwork(entry.addresses, entry.prefix, entry.gateway) if entry else None


def _host(draft: Draft, host: HostDraft) -> Host:
    own = host.variables
    key, known_hosts, ssh_config = (draft.path(host, name) for name in PATHS)
    return Host(
        name=host.member.name,
        address=host.address,
        known_hosts=known_hosts or Path(os.devnull),  # never: the checks refuse its absence
        port=own.ansible_port,
        user=own.ansible_user,
        key=key,
        ssh_config=ssh_config,
        jump_hosts=own.migqual_jump_hosts or own.ansible_ssh_common_args,
        uri_transport=own.migqual_uri_transport,
        migration_address=host.migration_address,
        service_bridge=own.migqual_service_bridge or "",
        scratch=own.migqual_scratch,
        emulator=str(own.migqual_emulator) if own.migqual_emulator else None,
        peer_uri_template=own.migqual_peer_uri,
        certificates=own.migqual_certificates,
        roles=host.roles,
    )


def _store(entry: StoreEntry, draft: Draft) -> Store:
    if isinstance(entry, LocalEntry):
        return LocalStore(entry.name, entry.path)
    if isinstance(entry, DirectoryEntry):
        everyone = (name for name, host in draft.hosts.items() if Role.HYPERVISOR in host.roles)
        return DirectoryStore(entry.name, entry.path, entry.hosts or tuple(everyone))
    address = entry.address or draft.hosts[entry.server].address
    if isinstance(entry, IscsiEntry):
        return IscsiStore(
            entry.name, entry.server, address, entry.target, entry.directory, entry.port
        )
    return NbdStore(entry.name, entry.server, address, entry.directory, entry.ports)


def _settings(draft: Draft) -> Iterator[Setting]:
    """Every value in force, those of `all` first, then host by host."""
    document = draft.tree.document
    for name in AllVariables.model_fields:
        origin = draft.values[name].origin if name in draft.values else "default"
        yield Setting("all", name, _show(getattr(draft.everywhere, name)), origin)
    for location, entry in (*draft.pairs, *draft.stores):
        name = f"{location[len(VARS)]}[{location[-1]}]"
        origin = f"{document.file}:{document.line(location)}"
        yield Setting("all", name, _show(entry), origin)
    for host in draft.hosts.values():
        for name in HostVariables.model_fields:
            origin = host.values[name].origin if name in host.values else "default"
            yield Setting(host.member.name, name, _show(_in_force(draft, host, name)), origin)


def _in_force(draft: Draft, host: HostDraft, name: str) -> object:
    if name in PATHS:
        return draft.path(host, name)
    if name == "ansible_host":
        return host.address
    if name == "migqual_migration_address":
        return host.migration_address
    return getattr(host.variables, name)


def _show(value: object) -> str:
    """A value in one line; ``-`` for none."""
    if value is None or value in ("", ()):
        return "-"
    if isinstance(value, BaseModel):
        shown = ((name, getattr(value, name)) for name in type(value).model_fields)
        return " ".join(f"{name}={_show(part)}" for name, part in shown if part is not None)
    if isinstance(value, range):
        return f"{value.start}-{value.stop - 1}"
    if isinstance(value, tuple) and len(value) > 3:
        return f"{value[0]} ... {value[-1]} ({len(value)})"
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
