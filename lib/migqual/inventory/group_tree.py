"""Read the groups and hosts of an inventory file, and merge the variables of each host.

The precedence is the same as in Ansible, from low to high: `all`, the groups of a host from the
outermost to the innermost, the host. Groups at equal depth are in the order of their names. A
value from the environment or from the command line overrides the file for all hosts.
"""

import difflib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from migqual.errors import InputProblem, UsageError
from migqual.inventory.field_types import NAME_PATTERN
from migqual.inventory.schema import AllVariables, HostVariables
from migqual.yaml_file import Location, YamlDocument

HOST_VARIABLE_NAMES = frozenset(HostVariables.model_fields)
PASSWORD_VARIABLES = frozenset({"ansible_password", "ansible_ssh_pass", "ansible_ssh_password"})
ALL_GROUP_VARIABLE_NAMES = frozenset(AllVariables.model_fields) | {
    "migqual_pairs",
    "migqual_stores",
}

# Variables that environment and command line can set, by short name. Addresses are not allowed,
# because all hosts would get the same address.
OVERRIDE_VARIABLES: Mapping[str, str] = {
    "key": "ansible_ssh_private_key_file",
    "user": "ansible_user",
    "port": "ansible_port",
    **{
        name.removeprefix("migqual_"): name
        for name in sorted(HOST_VARIABLE_NAMES | ALL_GROUP_VARIABLE_NAMES)
        if name.startswith("migqual_")
        and name.removeprefix("migqual_")
        not in {"migration_address", "pairs", "stores", "service_network", "guests"}
    },
}


@dataclass(frozen=True)
class RawValue:
    """The value of an inventory variable, as the user wrote the value, with the value's origin.

    Attributes:
        origin: ``FILE:LINE``, ``environment NAME`` or ``command line``.
        location: Location in the inventory file. None means that the value is from the environment
            or the command line.
        override_label: Name of the value in problem messages, e.g. ``--set user``. Empty means
            that the value is from the inventory file.
    """

    raw: object
    origin: str
    location: Location | None = None
    override_label: str = ""

    def make_problem(self, document: YamlDocument, subpath: Location, message: str) -> InputProblem:
        """Make an `InputProblem` for this value of a variable.

        Args:
            document: The inventory file.
            subpath: Location of the problem inside the value. Empty means the whole value. For a
                value from the environment or the command line, the method ignores `subpath`.
            message: Description of the problem.
        """
        if self.location is None:
            return InputProblem(self.override_label, message)
        return document.make_problem((*self.location, *subpath), message)


RawValues = dict[str, RawValue]


@dataclass
class HostNode:
    """A host of an inventory file, with the values of the host entry and of the groups.

    Attributes:
        groups: Names of the groups that contain the host, directly or through other groups.
        own_values: Values in the entry of the host, by variable.
        group_values: Values of each group in `groups`, by variable. The key of a group is its
            depth and its name, e.g. ``(0, "hypervisors")`` for a group directly below `all`.
    """

    name: str
    location: Location
    groups: set[str] = field(default_factory=set)
    own_values: dict[str, RawValue] = field(default_factory=dict)
    group_values: dict[tuple[int, str], dict[str, RawValue]] = field(default_factory=dict)

    def merge_values(
        self, all_values: Mapping[str, RawValue], override_values: Mapping[str, RawValue]
    ) -> RawValues:
        """Merge `all_values`, group values, own values and `override_values`, in rising precedence.

        Returns:
            The values in force for the host, by variable.
        """
        merged_values = dict(all_values)
        for _, variables in sorted(self.group_values.items()):
            merged_values |= variables
        return {
            k: v
            for k, v in (merged_values | self.own_values | dict(override_values)).items()
            if k in HOST_VARIABLE_NAMES
        }


@dataclass
class GroupTree:
    """The groups and hosts of an inventory file, and the problems of the file.

    Attributes:
        all_values: Values of `all.vars`, by variable.
        hosts: The hosts by name.
        group_locations: Location of each group in the file, by name.
    """

    document: YamlDocument
    all_values: RawValues = field(default_factory=dict)
    hosts: dict[str, HostNode] = field(default_factory=dict)
    problems: list[InputProblem] = field(default_factory=list)
    group_locations: dict[str, Location] = field(default_factory=dict)

    def add_problem(self, location: Location, message: str) -> None:
        """Add an `InputProblem` for the value at `location` to `problems`."""
        self.problems.append(self.document.make_problem(location, message))

    def iterate_mapping(self, data: object, location: Location) -> Iterator[tuple[str, object]]:
        """Iterate over the items of `data`, a mapping or None from the file.

        None has no items. For any other value, the method adds a problem.
        """
        if isinstance(data, dict):
            yield from data.items()
        elif data is not None:
            self.add_problem(location, "not a mapping")

    def read_variables(
        self, data: object, location: Location, allowed_names: frozenset[str]
    ) -> RawValues:
        """Read the variables in `data`, and add a problem for each unknown variable."""
        values = {}
        for name, raw in self.iterate_mapping(data, location):
            variable_location = (*location, name)
            if name not in allowed_names:
                self.add_problem(variable_location, _describe_unknown_variable(name, allowed_names))
            else:
                origin = f"{self.document.file}:{self.document.find_line(variable_location)}"
                values[name] = RawValue(raw, origin, variable_location)
        return values


def build_group_tree(document: YamlDocument) -> GroupTree:
    """Build the tree of groups and hosts of an inventory file. The tree lists all problems."""
    tree = GroupTree(document)
    for name, data in tree.iterate_mapping(document.data, ()):
        if name == "all":
            _add_group(tree, name, data, ("all",), {})
        else:
            tree.add_problem((name,), "unknown key; groups and hosts must be below `all`")
    if not isinstance(document.data, dict) or "all" not in document.data:
        tree.add_problem(("all",), "missing")
    return tree


EnclosingGroups = dict[tuple[int, str], RawValues]


def _add_group(
    tree: GroupTree, name: str, data: object, location: Location, enclosing_groups: EnclosingGroups
) -> None:
    if name in tree.group_locations:
        tree.add_problem(
            location,
            "the group has two definitions, but only one is allowed; merge the definitions",
        )
        return
    tree.group_locations[name] = location
    is_all_group = location == ("all",)
    sections = {}
    for key, value in tree.iterate_mapping(data, location):
        if key in {"vars", "hosts", "children"}:
            sections[key] = value
        else:
            tree.add_problem(
                (*location, key),
                "unknown key; the allowed keys of a group are vars, hosts and children",
            )
    allowed_names = (
        HOST_VARIABLE_NAMES | ALL_GROUP_VARIABLE_NAMES if is_all_group else HOST_VARIABLE_NAMES
    )
    own_values = tree.read_variables(sections.get("vars"), (*location, "vars"), allowed_names)
    if is_all_group:
        tree.all_values = own_values
    member_groups = (
        enclosing_groups
        if is_all_group
        else {**enclosing_groups, (len(enclosing_groups), name): own_values}
    )
    for host, variables in tree.iterate_mapping(sections.get("hosts"), (*location, "hosts")):
        _add_host(tree, host, variables, (*location, "hosts", host), member_groups)
    for child, contents in tree.iterate_mapping(sections.get("children"), (*location, "children")):
        _add_group(tree, child, contents, (*location, "children", child), member_groups)


def _add_host(
    tree: GroupTree, name: str, data: object, location: Location, enclosing_groups: EnclosingGroups
) -> None:
    if not NAME_PATTERN.fullmatch(name):
        tree.add_problem(
            location,
            "a name contains only letters, digits, _ . and -, and begins with a letter or digit",
        )
        return
    node = tree.hosts.setdefault(name, HostNode(name, location))
    node.groups |= {group for _, group in enclosing_groups}
    node.group_values |= enclosing_groups
    node.own_values |= tree.read_variables(data, location, HOST_VARIABLE_NAMES)


def _describe_unknown_variable(name: str, allowed_names: frozenset[str]) -> str:
    if name in ALL_GROUP_VARIABLE_NAMES:
        return "the variable can only be set in all.vars; move the variable to all.vars"
    if name in PASSWORD_VARIABLES:
        return "migqual uses no passwords; set ansible_ssh_private_key_file to a private SSH key"
    similar_names = difflib.get_close_matches(name, allowed_names, 1)
    return f"unknown key; did you mean {similar_names[0]}?" if similar_names else "unknown key"


def read_overrides(environ: Mapping[str, str], assignments: Sequence[str]) -> RawValues:
    """Read the variables that the environment or the command line sets.

    The command line has precedence. An empty environment variable counts as not set.

    Args:
        environ: Environment variables, e.g. ``MIGQUAL_USER=...``.
        assignments: ``NAME=VALUE`` from the command line, e.g. ``user=...``.

    Returns:
        The values by full variable name, e.g. ``ansible_user``.

    Raises:
        UsageError: An assignment is not ``NAME=VALUE`` or has an unknown name.
    """
    values = {}
    for short_name, variable in OVERRIDE_VARIABLES.items():
        name = f"MIGQUAL_{short_name.upper()}"
        if environ.get(name):
            values[variable] = RawValue(
                environ[name], f"environment {name}", override_label=f"environment {name}"
            )
    for assignment in assignments:
        name, separator, text = assignment.partition("=")
        variable = OVERRIDE_VARIABLES.get(name, name)
        if not separator or not text or variable not in OVERRIDE_VARIABLES.values():
            raise UsageError(
                f"--set {assignment}: the form is not NAME=VALUE, or NAME cannot be set",
                remedy=f"use one of the names {', '.join(OVERRIDE_VARIABLES)}",
            )
        values[variable] = RawValue(text, "command line", override_label=f"--set {name}")
    return values
