"""Check that the folders of stores are writable, and shared only where the store is shared."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import PurePosixPath

from migqual.hosts.host import Host
from migqual.inventory.entities import HostRole
from migqual.inventory.stores import DirectoryStore, IscsiStore, LocalStore, NbdStore
from migqual.model.finding import Finding, Severity
from migqual.readiness.check_context import CheckContext
from migqual.readiness.host_checks import judge_free_space


def check_stores(context: CheckContext, hosts: Mapping[str, Host]) -> Iterator[Finding]:
    """Yield the findings about each store on each host in `hosts`.

    Args:
        context: The inventory with the stores, and the journal.
        hosts: The reachable hosts of the inventory, by name. The caller omits all other hosts.

    Raises:
        HostError: The connection to a host is lost.
    """
    for store in context.inventory.stores:
        match store:
            case DirectoryStore():
                users = [hosts[name] for name in store.hosts if name in hosts]
                yield from _check_folders(context, store, users, is_shared=True)
            case LocalStore():
                users = [one for one in hosts.values() if HostRole.HYPERVISOR in one.entry.roles]
                yield from _check_folders(context, store, users, is_shared=False)
            case NbdStore() | IscsiStore():
                if store.server in hosts:
                    yield _check_folder(
                        context,
                        store.name,
                        store.directory,
                        hosts[store.server],
                        must_exist=False,
                    )


def _check_folders(
    context: CheckContext,
    store: DirectoryStore | LocalStore,
    users: Sequence[Host],
    *,
    is_shared: bool,
) -> Iterator[Finding]:
    findings = [
        _check_folder(context, store.name, store.path, host, must_exist=is_shared) for host in users
    ]
    yield from findings
    if all(finding.severity is Severity.OK for finding in findings):
        yield from _check_sharing(context, store, users, is_shared=is_shared)


def _check_folder(
    context: CheckContext, store_name: str, folder: PurePosixPath, host: Host, *, must_exist: bool
) -> Finding:
    finding_id = f"{store_name}.{host.name}"
    if not must_exist:  # a run creates the folder: check the parent folder that exists
        folder = find_existing_parent(host, folder)
    if host.shell.run_unchecked("test", "-d", folder).status != 0:
        return Finding(
            finding_id,
            Severity.REFUSED,
            f"{host.name} has no folder {folder} of the store {store_name}",
            remedy=f"mount the store, or create the folder {folder}, on {host.name}",
        )
    with context.probe_file(host, folder) as file:
        is_writable = host.shell.run_unchecked("touch", file).status == 0
    if not is_writable:
        return Finding(
            finding_id,
            Severity.REFUSED,
            f"root cannot write to {folder} of the store {store_name} on {host.name}",
            remedy="mount the store with write access; export an NFS store with no_root_squash",
        )
    df_output = host.shell.run("df", "-Pk", "--", folder).stdout
    return judge_free_space(finding_id, host.name, folder, df_output)


def find_existing_parent(host: Host, folder: PurePosixPath) -> PurePosixPath:
    """Return the folder if it exists on the host, otherwise its nearest parent that exists."""
    script = 'path=$1; until test -e "$path"; do path=$(dirname -- "$path"); done; echo "$path"'
    return PurePosixPath(host.shell.run("sh", "-c", script, "sh", folder).stdout.strip())


def _check_sharing(
    context: CheckContext,
    store: DirectoryStore | LocalStore,
    users: Sequence[Host],
    *,
    is_shared: bool,
) -> Iterator[Finding]:
    """Check that all hosts share the folder of a shared store, and no hosts share a local store.

    The first host writes a file to the folder. In a shared store, every other host must see the
    file. In a local store, no other host may see the file. The function yields a finding for each
    host that breaks this rule.
    """
    if len(users) < 2:
        return
    writer, *readers = users
    folder = store.path if is_shared else find_existing_parent(writer, store.path)
    with context.probe_file(writer, folder) as file:
        writer.shell.run("touch", file)
        seen_by = [
            host for host in readers if host.shell.run_unchecked("test", "-e", file).status == 0
        ]
    for host in readers:
        if (host in seen_by) is is_shared:
            continue
        if is_shared:
            message = f"{folder} is not the same folder on {writer.name} and {host.name}"
            remedy = f"mount the same file system at {folder} on both hosts"
        else:
            message = f"{writer.name} and {host.name} share {folder}, so the store is not local"
            remedy = "set the path of the store to a folder on a local disk"
        yield Finding(f"{store.name}.sharing", Severity.REFUSED, message, remedy=remedy)
