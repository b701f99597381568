"""The node list of an openEuler lab -> the text of an inventory, to be completed by hand.

openEuler's test framework mugen keeps the machines of a lab in ``conf/env.json``:
``{"NODE": [{"ID", "LOCALTION", "MACHINE", "FRAME", "NIC", "MAC", "IPV4", "USER", "PASSWORD",
"SSH_PORT", ...}]}`` (the spelling is its own). What it knows is taken over, but for passwords: the
suite logs in with keys only. What it cannot know stands in the text as a comment to fill in.
"""

import json
from collections.abc import Iterator, Sequence
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from migqual.errors import Fault, InventoryError
from migqual.model.fields import Name, Port
from migqual.model.yamlfile import problems, spell

HEAD = """\
# Made from {file}. Lines that begin with `# migqual_` or `# ansible_` wait to be filled in.
# Passwords were left behind: the suite logs in with keys only. Give the hosts your public key
# (ssh-copy-id USER@ADDRESS) and collect their host keys (ssh-keyscan ADDRESS >> known_hosts).
"""

VARS = """\
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
    # migqual_client: HOST  # a third machine on the service network; it measures the gaps
"""

HOST = """\
        {name}:  # {about}
          ansible_host: "{address}"
          ansible_port: {port}
          ansible_user: "{user}"
          # migqual_migration_address: ADDRESS  # where it is not {address}
          # migqual_service_bridge: BRIDGE  # the bridge that guests join; its interface is {nic}
{emulator}"""

EMULATOR = (
    "          # migqual_emulator: /usr/libexec/qemu-kvm  # where libvirt finds none by itself\n"
)


def _port(value: object) -> object:
    """Ports stand there as numbers, as text, or empty for the usual one."""
    return 22 if value in ("", None) else value


def _ip(value: object) -> str:
    try:
        return str(ip_address(str(value)))
    except ValueError:
        raise ValueError("not an IP address") from None


def _word(value: object) -> str:
    return "" if value is None else _plain(str(value))


Word = Annotated[str, BeforeValidator(_word)]


class _Node(BaseModel):
    """What is used of a node; the file belongs to mugen, so other keys are none of our business."""

    model_config = ConfigDict(frozen=True, hide_input_in_errors=True)

    ID: Annotated[int, Field(ge=0)]
    IPV4: Annotated[str, BeforeValidator(_ip)]
    USER: Name = "root"
    SSH_PORT: Annotated[Port, BeforeValidator(_port)] = 22
    LOCALTION: Word = ""
    MACHINE: Word = ""
    FRAME: Word = ""
    NIC: Word = ""

    @property
    def name(self) -> str:
        return f"node{self.ID}"

    @property
    def about(self) -> str:
        words = (self.LOCALTION, self.MACHINE, self.FRAME)
        return ", ".join(word for word in words if word) or "nothing more is known"


class _Environment(BaseModel):
    model_config = ConfigDict(frozen=True, hide_input_in_errors=True)

    NODE: Annotated[tuple[_Node, ...], Field(min_length=2)]


def from_mugen(file: Path) -> str:
    """The text of an inventory with the nodes of `file` (an ``env.json``).

    The first two nodes become the source and destination of a pair, the next two of a second one,
    and so on. Raises `InventoryError` with every fault of the file at once.
    """
    nodes = _read(file).NODE
    if faults := list(_clashes(nodes)):
        raise InventoryError(str(file), faults)
    hosts = "".join(_host(node) for node in nodes)
    pairs = "\n".join(
        f"      - {{source: {source.name}, destination: {destination.name}}}"
        for source, destination in zip(nodes[::2], nodes[1::2], strict=False)
    )
    head = HEAD.format(file=_plain(file.name)) + "".join(_notes(nodes))
    return f"{head}{VARS.format(pairs=pairs)}  children:\n    hypervisors:\n      hosts:\n{hosts}"


def _read(file: Path) -> _Environment:
    data: Any = None
    try:
        data = json.loads(file.read_text(encoding="utf-8"))
        return _Environment.model_validate(data)
    except OSError as error:
        faults = [Fault("file", str(error.strerror or error))]
    except UnicodeDecodeError as error:
        faults = [Fault("file", f"not UTF-8 text (byte {error.start})")]
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        faults = [Fault(where, f"not JSON: {error.msg}")]
    except RecursionError:
        faults = [Fault("file", "nested too deeply")]
    except ValidationError as error:
        faults = [Fault(spell(place), words) for place, words in problems(error, data)]
    raise InventoryError(
        str(file), faults, remedy='mugen writes it: {"NODE": [{"ID": 1, "IPV4": ...}, ...]}'
    )


def _clashes(nodes: Sequence[_Node]) -> Iterator[Fault]:
    for key in ("ID", "IPV4"):
        first: dict[object, int] = {}
        for at, node in enumerate(nodes):
            value = getattr(node, key)
            if value in first:
                yield Fault(f"NODE[{at}].{key}", f"{value} is that of NODE[{first[value]}], too")
            first.setdefault(value, at)


def _notes(nodes: Sequence[_Node]) -> Iterator[str]:
    if len(nodes) % 2:
        yield f"# {nodes[-1].name} has no partner; it may serve as client or storage host.\n"
    for node in nodes:
        if ip_address(node.IPV4).is_loopback:
            yield f"# {node.name}: no other host reaches {node.IPV4}; give the real address.\n"
        if node.MACHINE == "kvm":
            yield f"# {node.name} is itself a virtual machine: it needs nested virtualization.\n"


def _host(node: _Node) -> str:
    return HOST.format(
        name=node.name,
        about=node.about,
        address=node.IPV4,
        port=node.SSH_PORT,
        user=node.USER,
        nic=node.NIC or "not known",
        emulator=EMULATOR,
    )


def _plain(text: str) -> str:
    """Foreign text inside a comment must not begin a new line."""
    return "".join(char if char.isprintable() else " " for char in text)[:80]
