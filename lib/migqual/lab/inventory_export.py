"""Write the inventory file of a lab.

The packages outside `migqual.lab` know the hosts of a lab only from this file.
"""

import shlex
import sys
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from migqual.inventory.entities import DEFAULT_SSH_PORT, DEFAULT_USER, Acceleration
from migqual.lab.layout import (
    EXPORTS_FOLDER,
    ISCSI_TARGET,
    SCRATCH_FOLDER,
    SHARED_FOLDER,
    HostLayout,
    LabLayout,
    get_prefix_length,
)
from migqual.lab.topology import LabRole

_INVENTORY_GROUPS = {
    LabRole.HYPERVISOR: "hypervisors",
    LabRole.STORAGE: "storage",
    LabRole.CLIENT: "clients",
}


def write_inventory(layout: LabLayout, *, acceleration: Acceleration) -> Path:
    """Write the inventory file of the lab and return the path of the file."""
    yaml = YAML()
    yaml.default_flow_style = False
    with layout.inventory_file.open("w") as stream:
        yaml.dump(build_inventory(layout, acceleration), stream)
    return layout.inventory_file


def build_inventory(layout: LabLayout, acceleration: Acceleration) -> dict[str, Any]:
    """Build the contents of a lab's inventory file, with the variables of Ansible and migqual.

    Args:
        layout: Names, addresses and folders of the lab.
        acceleration: Accelerator of the guests, `KVM` or `TCG`.

    Returns:
        The Ansible group `all` as plain data, with common variables and a group for each role.
    """
    groups: dict[str, Any] = {}
    for host in layout.hosts:
        group = groups.setdefault(_INVENTORY_GROUPS[host.spec.role], {"hosts": {}})
        group["hosts"][host.name] = _build_host_entry(layout, host)
    return {"all": {"vars": _build_group_variables(layout, acceleration), "children": groups}}


def _build_host_entry(layout: LabLayout, host: HostLayout) -> dict[str, Any]:
    quirks = host.spec.quirks
    entry: dict[str, Any] = {"ansible_host": host.get_address("mgmt")}
    if quirks.ssh_port != DEFAULT_SSH_PORT:
        entry["ansible_port"] = quirks.ssh_port
    if quirks.login_user != DEFAULT_USER:
        entry |= {"ansible_user": quirks.login_user, "ansible_become": True}
    if quirks.jump_host is not None:
        entry["migqual_jump_hosts"] = [layout.get_host(quirks.jump_host).jump_address]
    if host.spec.role is LabRole.HYPERVISOR:
        entry["migqual_migration_address"] = host.get_address("mig")
        entry["migqual_service_bridge"] = quirks.service_bridge
        if emulator := host.spec.find_emulator(layout.topology.guest_architecture):
            entry["migqual_emulator"] = emulator
    return entry


def _build_group_variables(layout: LabLayout, acceleration: Acceleration) -> dict[str, Any]:
    return {
        "ansible_user": DEFAULT_USER,
        "ansible_ssh_private_key_file": str(layout.ssh_key_file),
        "migqual_known_hosts": str(layout.known_hosts_file),
        "migqual_tier": layout.topology.tier.value,
        **({"migqual_exclusive": True} if layout.topology.exclusive else {}),
        "migqual_acceleration": acceleration.value,
        **_build_guest_variables(layout),
        "migqual_scratch": str(SCRATCH_FOLDER),
        "migqual_power_command": _build_power_command(layout.name),
        "migqual_pairs": [pair.model_dump(exclude_none=True) for pair in layout.topology.pairs],
        "migqual_service_network": {
            "addresses": layout.guest_address_range,
            "prefix": get_prefix_length(layout.prefixes["svc"]),
        },
        "migqual_stores": _list_store_entries(layout),
        "migqual_client": layout.topology.list_hosts(LabRole.CLIENT)[0],
    }


def _build_power_command(lab_name: str) -> str:
    """Build the command that switches a host of the lab off or on."""
    program = Path(sys.executable).parent / "migqual"
    argv = [str(program), "lab", "power", "--name", lab_name]
    return f"{shlex.join(argv)} {{action}} {{name}}"


def _build_guest_variables(layout: LabLayout) -> dict[str, str]:
    topology, variables = layout.topology, {}
    if topology.guest is not None:
        variables["migqual_guest_architecture"] = topology.guest.value
    if topology.guest_cpu is not None:
        variables["migqual_guest_cpu"] = topology.guest_cpu
    return variables


def _list_store_entries(layout: LabLayout) -> list[dict[str, Any]]:
    hypervisors = list(layout.topology.list_hosts(LabRole.HYPERVISOR))
    stores: list[dict[str, Any]] = [
        {"name": "shared", "kind": "directory", "path": str(SHARED_FOLDER), "hosts": hypervisors},
        {"name": "local", "kind": "local", "path": f"{SCRATCH_FOLDER}/images"},
    ]
    for name in layout.topology.list_hosts(LabRole.STORAGE):
        address = layout.get_host(name).get_address("mig")
        server_fields = {"server": name, "address": address}
        stores.append(
            {
                "name": "nbd",
                "kind": "nbd",
                **server_fields,
                "directory": f"{EXPORTS_FOLDER}/nbd",
                "ports": "10809-10899",
            }
        )
        stores.append(
            {
                "name": "iscsi",
                "kind": "iscsi",
                **server_fields,
                "directory": f"{EXPORTS_FOLDER}/iscsi",
                "target": ISCSI_TARGET,
            }
        )
    return stores
