"""Hold the values of an inventory file after the check of types.

`migqual.inventory.checks` checks these values afterwards, for example for unknown host names.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from migqual.errors import InputProblem
from migqual.inventory.entities import HostRole
from migqual.inventory.group_tree import GroupTree, HostNode, RawValues
from migqual.inventory.schema import AllVariables, HostVariables, PairSchema, StoreSchema
from migqual.yaml_file import Location

ALL_VARS_LOCATION: Location = ("all", "vars")


@dataclass(frozen=True)
class HostDraft:
    """The values of a host in the inventory file, after the check of types.

    Attributes:
        node: The host in the group tree.
        raw_values: Values in force for the host as the user wrote them, by variable. A value can
            be invalid.
        variables: Checked values. The default replaces an invalid value.
    """

    node: HostNode
    raw_values: RawValues
    variables: HostVariables

    @property
    def roles(self) -> frozenset[HostRole]:
        """Return the roles of the host, which follow from the host's groups."""
        return frozenset(role for role in HostRole if role.group in self.node.groups)

    @property
    def address(self) -> str:
        """Return the address for SSH. As in Ansible, the default is the name of the host."""
        return self.variables.ansible_host or self.node.name

    @property
    def migration_address(self) -> str:
        """Return the migration address. The default is the SSH address."""
        return self.variables.migqual_migration_address or self.address


@dataclass(frozen=True)
class InventoryDraft:
    """The values of an inventory file, after the check of types.

    Attributes:
        raw_values: Values of the group `all` as the user wrote them, by variable. A value can be
            invalid.
        all_variables: Checked values of the group `all`. The default replaces an invalid value.
        hosts: The hosts by name.
        pairs: The valid pairs, each with the location in the file.
        stores: The valid stores, each with the location in the file.
    """

    tree: GroupTree
    raw_values: RawValues
    all_variables: AllVariables
    hosts: Mapping[str, HostDraft]
    pairs: Sequence[tuple[Location, PairSchema]]
    stores: Sequence[tuple[Location, StoreSchema]]

    def make_problem(self, location: Location, message: str) -> InputProblem:
        """Make an `InputProblem` for the value at `location` in the file."""
        return self.tree.document.make_problem(location, message)

    def make_host_value_problem(self, host: HostDraft, name: str, message: str) -> InputProblem:
        """Make an `InputProblem` for the variable `name` of `host`.

        The method also works for a variable that the file does not set.
        """
        if name in host.raw_values:
            return host.raw_values[name].make_problem(self.tree.document, (), message)
        return self.make_problem((*host.node.location, name), message)

    def make_all_vars_problem(self, name: str, subpath: Location, message: str) -> InputProblem:
        """Make an `InputProblem` for the variable `name` of the group `all`.

        The method also works for a variable that the file does not set.

        Args:
            name: Name of the variable.
            subpath: Location of the problem inside the value. Empty means the whole value.
            message: Description of the problem.
        """
        if name in self.raw_values:
            return self.raw_values[name].make_problem(self.tree.document, subpath, message)
        return self.make_problem((*ALL_VARS_LOCATION, name), message)

    def resolve_path(self, host: HostDraft, name: str) -> Path | None:
        """Resolve the path in a variable of a host to an absolute path on the controller.

        A relative path in the file starts at the folder of the inventory file. A relative path
        from the environment or the command line starts at the working directory.

        Args:
            host: Host with the variable.
            name: Name of the variable.

        Returns:
            The absolute path, or None if the variable is not set.
        """
        path: Path | None = getattr(host.variables, name)
        if path is None or path.is_absolute():
            return path
        is_from_file = host.raw_values[name].location is not None
        return (self.tree.document.file.absolute().parent if is_from_file else Path.cwd()) / path

    def find_client(self) -> HostDraft | None:
        """Return the client, or None if the inventory has no client.

        The client is the host that `migqual_client` names. If the variable is not set, the client
        is the only host with the role client. Several hosts with this role give None.
        """
        if self.all_variables.migqual_client:
            return self.hosts.get(self.all_variables.migqual_client)
        clients = [host for host in self.hosts.values() if HostRole.CLIENT in host.roles]
        return clients[0] if len(clients) == 1 else None
