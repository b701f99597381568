"""The shape of an inventory file: groups, their hosts, and which value is in force for each.

As Ansible does it: variables of `all`, then of the groups around a host from the outermost to the
innermost (by name where they lie equally deep), then the host's own. A value given in the
environment or on the command line is in force everywhere, whatever the file says.
"""

import difflib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from migqual.errors import Fault, UsageError
from migqual.model.fields import NAME
from migqual.model.inventory_schema import AllVariables, HostVariables
from migqual.model.yamlfile import Document, Location

HOST_NAMES = frozenset(HostVariables.model_fields)
PASSWORDS = frozenset({"ansible_password", "ansible_ssh_pass", "ansible_ssh_password"})
ALL_NAMES = frozenset(AllVariables.model_fields) | {"migqual_pairs", "migqual_stores"}

# What may be given from outside, by its short name. Not addresses: one for all makes no sense.
OVERRIDES: Mapping[str, str] = {
    "key": "ansible_ssh_private_key_file",
    "user": "ansible_user",
    "port": "ansible_port",
    **{
        name.removeprefix("migqual_"): name
        for name in sorted(HOST_NAMES | ALL_NAMES)
        if name.startswith("migqual_")
        and name.removeprefix("migqual_")
        not in {"migration_address", "pairs", "stores", "service_network"}
    },
}


@dataclass(frozen=True)
class Value:
    """A raw value and where it came from.

    origin    as `Setting.origin`
    location  where in the file it stands; None when it came from outside
    label     what a fault of a value from outside is told under
    """

    raw: object
    origin: str
    location: Location | None = None
    label: str = ""

    def fault(self, document: Document, within: Location, words: str) -> Fault:
        """A fault of this value, or of the part of it at `within`."""
        if self.location is None:
            return Fault(self.label, words)
        return document.fault((*self.location, *within), words)


Values = dict[str, Value]


@dataclass
class Member:
    """One host of the file: every group it is in, and its values in force."""

    name: str
    location: Location
    groups: set[str] = field(default_factory=set)
    own: dict[str, Value] = field(default_factory=dict)
    inherited: dict[tuple[int, str], dict[str, Value]] = field(default_factory=dict)

    def values(self, everywhere: Mapping[str, Value], outside: Mapping[str, Value]) -> Values:
        """What is in force, from `all` (`everywhere`) up to what came from `outside`."""
        found = dict(everywhere)
        for _, variables in sorted(self.inherited.items()):
            found |= variables
        return {k: v for k, v in (found | self.own | dict(outside)).items() if k in HOST_NAMES}


@dataclass
class Tree:
    """What `walk` found. `everywhere` holds `all.vars`."""

    document: Document
    everywhere: Values = field(default_factory=dict)
    members: dict[str, Member] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)
    seen: dict[str, Location] = field(default_factory=dict)

    def complain(self, location: Location, words: str) -> None:
        self.faults.append(self.document.fault(location, words))

    def mapping(self, data: object, location: Location) -> Iterator[tuple[str, object]]:
        """The items of `data`; nothing where it is empty; a fault where it is no mapping."""
        if isinstance(data, dict):
            yield from data.items()
        elif data is not None:
            self.complain(location, "not a mapping")

    def variables(self, data: object, location: Location, known: frozenset[str]) -> Values:
        """Variables at `location`, less those that nobody knows."""
        found = {}
        for name, raw in self.mapping(data, location):
            here = (*location, name)
            if name not in known:
                self.complain(here, _unknown(name, known))
            else:
                origin = f"{self.document.file}:{self.document.line(here)}"
                found[name] = Value(raw, origin, here)
        return found


def walk(document: Document) -> Tree:
    """Take an inventory apart. Collects faults, raises nothing."""
    tree = Tree(document)
    for name, data in tree.mapping(document.data, ()):
        if name == "all":
            _group(tree, name, data, ("all",), {})
        else:
            tree.complain((name,), "unknown key; everything lies below `all`")
    if not isinstance(document.data, dict) or "all" not in document.data:
        tree.complain(("all",), "missing")
    return tree


Lineage = dict[tuple[int, str], Values]


def _group(tree: Tree, name: str, data: object, location: Location, around: Lineage) -> None:
    if name in tree.seen:
        tree.complain(location, "a group is written once; put its hosts and groups together")
        return
    tree.seen[name] = location
    top = location == ("all",)
    parts = {}
    for key, value in tree.mapping(data, location):
        if key in {"vars", "hosts", "children"}:
            parts[key] = value
        else:
            tree.complain((*location, key), "unknown key; a group has vars, hosts and children")
    known = HOST_NAMES | ALL_NAMES if top else HOST_NAMES
    own = tree.variables(parts.get("vars"), (*location, "vars"), known)
    if top:
        tree.everywhere = own
    lineage = around if top else {**around, (len(around), name): own}
    for host, variables in tree.mapping(parts.get("hosts"), (*location, "hosts")):
        _host(tree, host, variables, (*location, "hosts", host), lineage)
    for child, contents in tree.mapping(parts.get("children"), (*location, "children")):
        _group(tree, child, contents, (*location, "children", child), lineage)


def _host(tree: Tree, name: str, data: object, location: Location, around: Lineage) -> None:
    if not NAME.fullmatch(name):
        tree.complain(location, "not a name (letters, digits, and _.- inside)")
        return
    member = tree.members.setdefault(name, Member(name, location))
    member.groups |= {group for _, group in around}
    member.inherited |= around
    member.own |= tree.variables(data, location, HOST_NAMES)


def _unknown(name: str, known: frozenset[str]) -> str:
    if name in ALL_NAMES:
        return "belongs in all.vars"
    if name in PASSWORDS:
        return "passwords are not used; name a key with ansible_ssh_private_key_file"
    near = difflib.get_close_matches(name, known, 1)
    return f"unknown key; {near[0]}?" if near else "unknown key"


def overrides(environ: Mapping[str, str], assignments: Sequence[str]) -> Values:
    """Values from the environment (``MIGQUAL_USER=...``) and the command line (``user=...``).

    The command line wins. Variables of the environment that are set to nothing are not set.
    Raises `UsageError` for an assignment that cannot be understood.
    """
    found = {}
    for short, variable in OVERRIDES.items():
        name = f"MIGQUAL_{short.upper()}"
        if environ.get(name):
            found[variable] = Value(
                environ[name], f"environment {name}", label=f"environment {name}"
            )
    for assignment in assignments:
        name, equals, text = assignment.partition("=")
        variable = OVERRIDES.get(name, name)
        if not equals or not text or variable not in OVERRIDES.values():
            raise UsageError(
                f"--set {assignment}: not NAME=VALUE with a name that can be set",
                remedy=f"names: {', '.join(OVERRIDES)}",
            )
        found[variable] = Value(text, "command line", label=f"--set {name}")
    return found
