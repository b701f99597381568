"""What our guests leave on hosts. Looks for our own names only, and in a lab at everything."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from migqual.hosts.host import Host
from migqual.model.inventory import DirectoryStore, Inventory, LocalStore, Role, Tier

_END = "--"  # of one list
# Everything at once: a command over SSH takes longer than what it looks at. None of the words of
# this script match the pattern.
_LOOK = f"""\
prefix=$1
shift
find "$@" -name "$prefix*" 2>/dev/null
echo {_END}
pgrep -f -a "(guest=|-x |name=)$prefix"
echo {_END}
ls /sys/class/net
"""
# where libvirt and QEMU keep things of a guest
_LIBVIRT = ("/etc/libvirt/qemu", "/run/libvirt/qemu", "/var/lib/libvirt/qemu", "/var/log/libvirt")


@dataclass(frozen=True)
class Audit:
    """Looks at hosts before and after. `prefix` is what all our names on them begin with."""

    inventory: Inventory
    prefix: str

    def traces(self, hosts: tuple[Host, ...]) -> frozenset[str]:
        """Everything of ours on `hosts` now, one line each: host, kind, name."""
        with ThreadPoolExecutor(max_workers=len(hosts)) as pool:
            return frozenset(line for lines in pool.map(self._host, hosts) for line in lines)

    def _host(self, host: Host) -> list[str]:
        argv = ("sh", "-c", _LOOK, "sh", self.prefix, *self._folders(host))
        files, processes, interfaces = host.shell.run(*argv).stdout.split(f"{_END}\n")
        found = [f"{host.name}: file {path}" for path in files.splitlines()]
        found += [
            f"{host.name}: process {_named(line, self.prefix)}" for line in processes.splitlines()
        ]
        if Role.HYPERVISOR not in host.entry.roles:
            return found
        names = [name for name in host.libvirt.domains() if name.startswith(self.prefix)]
        found += [f"{host.name}: domain {name}" for name in names]
        if self.inventory.tier is Tier.LAB:
            found += [f"{host.name}: interface {name}" for name in interfaces.split()]
        return found

    def _folders(self, host: Host) -> list[str]:
        """Where a host may have files of ours. Not all of them have to be there."""
        folders = [str(host.entry.scratch), *_LIBVIRT]
        for store in self.inventory.stores:
            match store:
                case DirectoryStore() | LocalStore():
                    folders.append(str(store.path))
                case _ if store.server == host.name:
                    folders.append(str(store.directory))
        return folders


def _named(line: str, prefix: str) -> str:
    """The name that a command line holds; ids of processes differ from look to look."""
    return next((word for word in line.replace(",", " ").split() if prefix in word), line)
