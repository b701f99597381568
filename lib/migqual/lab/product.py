"""The inventory of a lab: all that the rest of migqual ever learns of it."""

from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from migqual.lab.layout import (
    EXPORTS,
    GUEST_ADDRESSES,
    ISCSI_TARGET,
    SCRATCH,
    SHARED,
    HostLayout,
    LabLayout,
)
from migqual.lab.network import SERVICE_BRIDGE
from migqual.lab.topology import Role

_GROUPS = {Role.HYPERVISOR: "hypervisors", Role.STORAGE: "storage", Role.CLIENT: "clients"}


def write_inventory(layout: LabLayout, *, acceleration: str) -> Path:
    """Write the lab's inventory file; returns its path."""
    yaml = YAML()
    yaml.default_flow_style = False
    with layout.inventory.open("w") as stream:
        yaml.dump(inventory(layout, acceleration), stream)
    return layout.inventory


def inventory(layout: LabLayout, acceleration: str) -> dict[str, Any]:
    groups: dict[str, Any] = {}
    for host in layout.hosts:
        group = groups.setdefault(_GROUPS[host.spec.role], {"hosts": {}})
        group["hosts"][host.name] = _host(host)
    return {"all": {"vars": _vars(layout, acceleration), "children": groups}}


def _host(host: HostLayout) -> dict[str, Any]:
    entry: dict[str, Any] = {"ansible_host": host.address("mgmt")}
    if host.spec.role is Role.HYPERVISOR:
        entry["migqual_migration_address"] = host.address("mig")
        entry["migqual_service_bridge"] = SERVICE_BRIDGE
        if host.spec.emulator is not None:
            entry["migqual_emulator"] = host.spec.emulator
    return entry


def _vars(layout: LabLayout, acceleration: str) -> dict[str, Any]:
    return {
        "ansible_user": "root",
        "ansible_ssh_private_key_file": str(layout.key),
        "migqual_known_hosts": str(layout.known_hosts),
        "migqual_tier": "lab",
        "migqual_acceleration": acceleration,
        "migqual_guest_cpu": layout.topology.cpu,
        "migqual_scratch": str(SCRATCH),
        "migqual_pairs": [pair.model_dump(exclude_none=True) for pair in layout.topology.pairs],
        "migqual_service_network": {"addresses": GUEST_ADDRESSES, "prefix": 24},
        "migqual_stores": _stores(layout),
        "migqual_client": layout.topology.of_role(Role.CLIENT)[0],
    }


def _stores(layout: LabLayout) -> list[dict[str, Any]]:
    hypervisors = list(layout.topology.of_role(Role.HYPERVISOR))
    stores: list[dict[str, Any]] = [
        {"name": "shared", "kind": "directory", "path": str(SHARED), "hosts": hypervisors},
        {"name": "local", "kind": "local", "path": f"{SCRATCH}/images"},
    ]
    for name in layout.topology.of_role(Role.STORAGE):
        address = layout.host(name).address("mig")
        where = {"server": name, "address": address}
        stores.append(
            {
                "name": "nbd",
                "kind": "nbd",
                **where,
                "directory": f"{EXPORTS}/nbd",
                "ports": "10809-10899",
            }
        )
        stores.append(
            {
                "name": "iscsi",
                "kind": "iscsi",
                **where,
                "directory": f"{EXPORTS}/iscsi",
                "target": ISCSI_TARGET,
            }
        )
    return stores
