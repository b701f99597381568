"""Convert the list of machines of openEuler's mugen to the text of an inventory.

The test framework mugen keeps its machines in ``conf/env.json``. The keys have mugen's own
spelling::

    {
        "NODE": [
            {
                "ID",
                "LOCALTION",
                "MACHINE",
                "FRAME",
                "NIC",
                "MAC",
                "IPV4",
                "USER",
                "PASSWORD",
                "SSH_PORT",
                ...,
            }
        ]
    }

The inventory contains all values of mugen except passwords, because migqual logs in with keys
only. Comments in the inventory name the values that a person must add by hand.
"""

import json
from collections.abc import Iterator, Sequence
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from migqual.errors import InputProblem, InventoryError
from migqual.inventory.field_types import Name, Port
from migqual.yaml_file import format_location, list_validation_messages

HEADER_TEMPLATE = """\
# Converted from {file}. The lines that begin with `# migqual_` or `# ansible_` contain
# placeholders. Replace the placeholders that you need, and remove the `# ` before these lines.
# Passwords were not copied: migqual logs in with keys only. Give the hosts your public key
# (ssh-copy-id USER@ADDRESS) and collect their host keys (ssh-keyscan ADDRESS >> known_hosts).
"""

ALL_VARS_TEMPLATE = """\
all:
  vars:
    # ansible_ssh_private_key_file: /path/to/key
    # migqual_known_hosts: /path/to/known_hosts
    migqual_tier: real
    migqual_pairs:
{pairs}
    # migqual_service_network: {{addresses: FIRST-LAST, prefix: 24, gateway: ADDRESS}}
    # migqual_stores:
    #   - {{name: shared, kind: directory, path: /path/that/both/hosts/mount}}
    #   - {{name: local, kind: local, path: /var/lib/migqual/images}}
    # migqual_client: HOST  # machine on the service network that measures the gaps
"""

HOST_TEMPLATE = """\
        {name}:  # {about}
          ansible_host: "{address}"
          ansible_port: {port}
          ansible_user: "{user}"
          # migqual_migration_address: ADDRESS  # if different from {address}
          # migqual_service_bridge: BRIDGE  # bridge for guests; interface in mugen: {nic}
{emulator}"""

EMULATOR_COMMENT = (
    "          # migqual_emulator: /usr/libexec/qemu-kvm  # only if libvirt does not find QEMU\n"
)


def _parse_port(value: object) -> object:
    """Return 22 for an empty port, and any other port unchanged."""
    return 22 if value in ("", None) else value


def _normalize_ip_address(value: object) -> str:
    try:
        return str(ip_address(str(value)))
    except ValueError:
        raise ValueError("not an IP address") from None


def _normalize_text(value: object) -> str:
    return "" if value is None else _replace_unprintable(str(value))


NodeText = Annotated[str, BeforeValidator(_normalize_text)]


class _MugenNode(BaseModel):
    """A machine in the file ``env.json`` of mugen, the test framework of openEuler.

    Other keys of the machine, which have no field in the class, are ignored.
    """

    model_config = ConfigDict(frozen=True, hide_input_in_errors=True)

    ID: Annotated[int, Field(ge=0)]
    IPV4: Annotated[str, BeforeValidator(_normalize_ip_address)]
    USER: Name = "root"
    SSH_PORT: Annotated[Port, BeforeValidator(_parse_port)] = 22
    LOCALTION: NodeText = ""
    MACHINE: NodeText = ""
    FRAME: NodeText = ""
    NIC: NodeText = ""

    @property
    def name(self) -> str:
        return f"node{self.ID}"

    @property
    def description(self) -> str:
        parts = (self.LOCALTION, self.MACHINE, self.FRAME)
        return ", ".join(part for part in parts if part) or "no further information"


class _MugenEnvironment(BaseModel):
    model_config = ConfigDict(frozen=True, hide_input_in_errors=True)

    NODE: Annotated[tuple[_MugenNode, ...], Field(min_length=2)]


def render_mugen_inventory(file: Path) -> str:
    """Render the text of an inventory with the machines (nodes) in mugen's file ``env.json``.

    The first two nodes become source and destination of a pair, the next two nodes become the
    second pair, and so on. If the number of nodes is odd, the last node is in no pair.

    Args:
        file: Path of the file ``env.json``.

    Raises:
        InventoryError: The file has problems. The error lists all problems.
    """
    nodes = _read_mugen_file(file).NODE
    if problems := list(_find_duplicates(nodes)):
        raise InventoryError(str(file), problems)
    hosts = "".join(_render_host(node) for node in nodes)
    pairs = "\n".join(
        f"      - {{source: {source.name}, destination: {destination.name}}}"
        for source, destination in zip(nodes[::2], nodes[1::2], strict=False)
    )
    header = HEADER_TEMPLATE.format(file=_replace_unprintable(file.name)) + "".join(
        _render_notes(nodes)
    )
    all_vars = ALL_VARS_TEMPLATE.format(pairs=pairs)
    return f"{header}{all_vars}  children:\n    hypervisors:\n      hosts:\n{hosts}"


def _read_mugen_file(file: Path) -> _MugenEnvironment:
    data: Any = None
    try:
        data = json.loads(file.read_text(encoding="utf-8"))
        return _MugenEnvironment.model_validate(data)
    except OSError as error:
        problems = [InputProblem("file", str(error.strerror or error))]
    except UnicodeDecodeError as error:
        problems = [InputProblem("file", f"the file is not UTF-8 text (byte {error.start})")]
    except json.JSONDecodeError as error:
        position = f"line {error.lineno}, column {error.colno}"
        problems = [InputProblem(position, f"not JSON: {error.msg}")]
    except RecursionError:
        problems = [InputProblem("file", "the JSON has too many nested levels")]
    except ValidationError as error:
        problems = [
            InputProblem(format_location(location), message)
            for location, message in list_validation_messages(error, data)
        ]
    raise InventoryError(
        str(file),
        problems,
        remedy="give a valid file env.json of the test framework mugen; example: "
        '{"NODE": [{"ID": 1, "IPV4": ...}, ...]}',
    )


def _find_duplicates(nodes: Sequence[_MugenNode]) -> Iterator[InputProblem]:
    for key in ("ID", "IPV4"):
        first_indexes: dict[object, int] = {}
        for index, node in enumerate(nodes):
            value = getattr(node, key)
            if value in first_indexes:
                yield InputProblem(
                    f"NODE[{index}].{key}",
                    f"NODE[{first_indexes[value]}] has the same {key} {value}",
                )
            first_indexes.setdefault(value, index)


def _render_notes(nodes: Sequence[_MugenNode]) -> Iterator[str]:
    if len(nodes) % 2:
        yield f"# {nodes[-1].name} is in no pair; use the host as client or storage host.\n"
    for node in nodes:
        if ip_address(node.IPV4).is_loopback:
            yield f"# {node.name}: other hosts cannot reach {node.IPV4}; replace the address.\n"
        if node.MACHINE == "kvm":
            yield f"# {node.name} is a virtual machine; KVM needs nested virtualization.\n"


def _render_host(node: _MugenNode) -> str:
    return HOST_TEMPLATE.format(
        name=node.name,
        about=node.description,
        address=node.IPV4,
        port=node.SSH_PORT,
        user=node.USER,
        nic=node.NIC or "not known",
        emulator=EMULATOR_COMMENT,
    )


def _replace_unprintable(text: str) -> str:
    """Replace unprintable characters by spaces, and cut the text to 80 characters.

    A line break in a comment of the inventory would end the comment.
    """
    return "".join(char if char.isprintable() else " " for char in text)[:80]
