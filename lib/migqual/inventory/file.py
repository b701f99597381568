"""Load an inventory file as `Inventory`, or report all problems of the file at once."""

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from migqual.errors import InputProblem
from migqual.inventory.checks import find_inventory_problems
from migqual.inventory.draft import ALL_VARS_LOCATION, HostDraft, InventoryDraft
from migqual.inventory.entities import (
    CertificateSource,
    EffectiveVariable,
    HostEntry,
    HostRole,
    Inventory,
    PairEntry,
    ServiceNetwork,
    Tier,
    hide_arguments,
)
from migqual.inventory.group_tree import (
    ALL_GROUP_VARIABLE_NAMES,
    GroupTree,
    RawValue,
    RawValues,
    build_group_tree,
    read_overrides,
)
from migqual.inventory.guest_size import resolve_images
from migqual.inventory.schema import (
    STORE_SCHEMAS,
    AllVariables,
    DirectoryStoreSchema,
    HostVariables,
    IscsiStoreSchema,
    LocalStoreSchema,
    PairSchema,
    ServiceNetworkSchema,
    StoreSchema,
)
from migqual.inventory.stores import DirectoryStore, IscsiStore, LocalStore, NbdStore, Store
from migqual.yaml_file import (
    Location,
    YamlDocument,
    list_validation_messages,
    raise_problems,
    read_yaml_document,
    validate_data,
)

Model = TypeVar("Model", bound=BaseModel)

REMEDY = "docs/inventory.md describes every variable"
PATH_VARIABLES = ("ansible_ssh_private_key_file", "migqual_known_hosts", "migqual_ssh_config")


def load_inventory(
    file: Path,
    *,
    environ: Mapping[str, str] | None = None,
    assignments: Sequence[str] = (),
) -> Inventory:
    """Load the inventory from `file`. The function connects to no host.

    Args:
        file: Path of the YAML file.
        environ: Environment variables. A variable ``MIGQUAL_NAME`` overrides the value in
            the file. None means the environment of the process.
        assignments: ``NAME=VALUE`` from the command line. An assignment overrides the file and
            the environment.

    Raises:
        InventoryError: The inventory has problems. The error lists all problems.
        UsageError: An assignment is not ``NAME=VALUE``, or the variable cannot be set.

    Example:
        Load the inventory, and connect to the source of the first pair as another user::

            inventory = load_inventory(Path("hosts.yml"), assignments=["user=admin"])
            with Host(inventory.pairs[0].source) as source:
                print(source.libvirt.query_versions())
    """
    override_values = read_overrides(os.environ if environ is None else environ, assignments)
    document = read_yaml_document(file)
    draft, problems = _build_draft(build_group_tree(document), override_values)
    raise_problems(
        document, [*document.problems, *problems, *find_inventory_problems(draft)], remedy=REMEDY
    )
    return _build_inventory(draft)


def _build_draft(
    tree: GroupTree, override_values: RawValues
) -> tuple[InventoryDraft, list[InputProblem]]:
    raw_values = {
        k: v
        for k, v in (tree.all_values | override_values).items()
        if k in ALL_GROUP_VARIABLE_NAMES
    }
    list_values = {name: raw_values.get(name) for name in ("migqual_pairs", "migqual_stores")}
    problems = list(tree.problems)
    all_variables = _validate_values(
        AllVariables,
        {k: v for k, v in raw_values.items() if k not in list_values},
        tree.document,
        problems,
    )
    hosts = {}
    for name, node in tree.hosts.items():
        host_values = node.merge_values(tree.all_values, override_values)
        hosts[name] = HostDraft(
            node, host_values, _validate_values(HostVariables, host_values, tree.document, problems)
        )
    pairs = [
        (location, pair)
        for location, raw in _iterate_items(list_values["migqual_pairs"], tree.document, problems)
        if (pair := _validate_entry(PairSchema, raw, location, tree.document, problems))
    ]
    stores = [
        (location, store)
        for location, raw in _iterate_items(list_values["migqual_stores"], tree.document, problems)
        if (store := _validate_store_entry(raw, location, tree.document, problems))
    ]
    return InventoryDraft(tree, raw_values, all_variables, hosts, pairs, stores), problems


def _validate_values(
    model: type[Model], values: RawValues, document: YamlDocument, problems: list[InputProblem]
) -> Model:
    """Build `model` from the valid values, and add each invalid value to `problems`."""
    data = {name: value.raw for name, value in values.items()}
    try:
        return model.model_validate(data)
    except ValidationError as error:
        for (name, *subpath), message in list_validation_messages(error, data):
            problems.append(values[str(name)].make_problem(document, tuple(subpath), message))
            data.pop(str(name), None)
    return model.model_validate(data)


def _iterate_items(
    value: RawValue | None, document: YamlDocument, problems: list[InputProblem]
) -> Iterator[tuple[Location, object]]:
    if value is None or value.location is None:
        return
    if not isinstance(value.raw, list) or not value.raw:
        problems.append(
            document.make_problem(
                value.location, "the value must be a list with at least one entry"
            )
        )
        return
    for index, raw in enumerate(value.raw):
        yield (*value.location, index), raw


def _validate_entry(
    model: type[Model],
    raw: object,
    location: Location,
    document: YamlDocument,
    problems: list[InputProblem],
) -> Model | None:
    entry, entry_problems = validate_data(model, raw, document, location)
    problems += entry_problems
    return entry


def _validate_store_entry(
    raw: object, location: Location, document: YamlDocument, problems: list[InputProblem]
) -> StoreSchema | None:
    kind = raw.get("kind") if isinstance(raw, dict) else None
    if not isinstance(kind, str) or kind not in STORE_SCHEMAS:
        message = f"the kind of the store must be one of {', '.join(STORE_SCHEMAS)}"
        problems.append(document.make_problem((*location, "kind"), message))
        return None
    model: type[StoreSchema] = STORE_SCHEMAS[kind]
    return _validate_entry(model, raw, location, document, problems)


def _build_inventory(draft: InventoryDraft) -> Inventory:
    hosts = {name: _build_host(draft, host) for name, host in draft.hosts.items()}
    client = draft.find_client()
    pairs = [
        PairEntry(hosts[pair.source], hosts[pair.destination], pair.replica_of or "")
        for _, pair in draft.pairs
    ]
    return Inventory(
        hosts=hosts,
        pairs=tuple(pair for pair in pairs if not pair.replica_of),
        replicas=tuple(pair for pair in pairs if pair.replica_of),
        stores=tuple(_build_store(store, draft) for _, store in draft.stores),
        client=hosts[client.node.name] if client else None,
        service_network=_build_service_network(draft.all_variables.migqual_service_network),
        tier=draft.all_variables.migqual_tier,
        acceleration=draft.all_variables.migqual_acceleration,
        guest_architecture=draft.all_variables.migqual_guest_architecture,
        guest_cpu=draft.all_variables.migqual_guest_cpu,
        expected_acceleration=draft.all_variables.migqual_expected_acceleration,
        guests=resolve_images(
            draft.all_variables.migqual_guests, draft.tree.document.file.absolute().parent
        ),
        file=draft.tree.document.file.absolute(),
        effective_variables=tuple(_list_effective_variables(draft)),
    )


def _build_service_network(entry: ServiceNetworkSchema | None) -> ServiceNetwork | None:
    return ServiceNetwork(entry.addresses, entry.prefix, entry.gateway) if entry else None


def _build_host(draft: InventoryDraft, host: HostDraft) -> HostEntry:
    variables = host.variables
    is_exclusive = variables.migqual_exclusive or draft.all_variables.migqual_tier is Tier.LAB
    key, known_hosts, ssh_config = (draft.resolve_path(host, name) for name in PATH_VARIABLES)
    return HostEntry(
        name=host.node.name,
        address=host.address,
        known_hosts=known_hosts or Path(os.devnull),  # never happens: the checks require a file
        port=variables.ansible_port,
        user=variables.ansible_user,
        become=variables.ansible_become,
        key=key,
        ssh_config=ssh_config,
        jump_hosts=variables.migqual_jump_hosts or variables.ansible_ssh_common_args,
        uri_transport=variables.migqual_uri_transport,
        migration_address=host.migration_address,
        service_bridge=variables.migqual_service_bridge or "",
        scratch=variables.migqual_scratch,
        emulator=str(variables.migqual_emulator) if variables.migqual_emulator else None,
        peer_uri_template=variables.migqual_peer_uri,
        guest_architecture=draft.all_variables.migqual_guest_architecture,
        certificate_source=_choose_certificate_source(variables, is_exclusive=is_exclusive),
        is_exclusive=is_exclusive,
        power_command=variables.migqual_power_command,
        roles=host.roles,
    )


def _choose_certificate_source(
    variables: HostVariables, *, is_exclusive: bool
) -> CertificateSource:
    """Choose the source of the certificates of a host.

    If the inventory names no source, migqual issues certificates only for an exclusive host, which
    is a host that nobody else uses during a run.
    """
    if variables.migqual_certificates is not None:
        return variables.migqual_certificates
    return CertificateSource.ISSUED if is_exclusive else CertificateSource.OWN


def _build_store(entry: StoreSchema, draft: InventoryDraft) -> Store:
    if isinstance(entry, LocalStoreSchema):
        return LocalStore(entry.name, entry.path)
    if isinstance(entry, DirectoryStoreSchema):
        hypervisor_names = (
            name for name, host in draft.hosts.items() if HostRole.HYPERVISOR in host.roles
        )
        return DirectoryStore(entry.name, entry.path, entry.hosts or tuple(hypervisor_names))
    address = entry.address or draft.hosts[entry.server].address
    if isinstance(entry, IscsiStoreSchema):
        return IscsiStore(
            entry.name, entry.server, address, entry.target, entry.directory, entry.port
        )
    return NbdStore(entry.name, entry.server, address, entry.directory, entry.ports)


def _list_effective_variables(draft: InventoryDraft) -> Iterator[EffectiveVariable]:
    """List all variables with the values in force: the group `all` first, then each host."""
    document = draft.tree.document
    for name in AllVariables.model_fields:
        origin = draft.raw_values[name].origin if name in draft.raw_values else "default"
        yield EffectiveVariable(
            "all", name, _format_value(getattr(draft.all_variables, name)), origin
        )
    for location, entry in (*draft.pairs, *draft.stores):
        name = f"{location[len(ALL_VARS_LOCATION)]}[{location[-1]}]"
        origin = f"{document.file}:{document.find_line(location)}"
        yield EffectiveVariable("all", name, _format_value(entry), origin)
    for host in draft.hosts.values():
        for name in HostVariables.model_fields:
            origin = host.raw_values[name].origin if name in host.raw_values else "default"
            yield EffectiveVariable(
                host.node.name, name, _format_value(_get_effective_value(draft, host, name)), origin
            )


def _get_effective_value(draft: InventoryDraft, host: HostDraft, name: str) -> object:
    if name in PATH_VARIABLES:
        return draft.resolve_path(host, name)
    if name == "ansible_host":
        return host.address
    if name == "migqual_migration_address":
        return host.migration_address
    if name == "migqual_power_command":  # may contain a password
        return hide_arguments(host.variables.migqual_power_command)
    return getattr(host.variables, name)


def _format_value(value: object) -> str:
    """Format a value in one line for `migqual inventory show`. A missing value becomes ``-``."""
    if value is None or value in ("", ()):
        return "-"
    if isinstance(value, BaseModel):
        fields = ((name, getattr(value, name)) for name in type(value).model_fields)
        return " ".join(
            f"{name}={_format_value(field_value)}"
            for name, field_value in fields
            if field_value is not None
        )
    if isinstance(value, range):
        return f"{value.start}-{value.stop - 1}"
    if isinstance(value, tuple) and len(value) > 3:
        return f"{value[0]} ... {value[-1]} ({len(value)})"
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
