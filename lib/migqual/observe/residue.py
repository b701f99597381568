"""What our guests leave on hosts. Looks for our own names only, and in a lab at everything."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from migqual.hosts.host import Host
from migqual.model.inventory import DirectoryStore, Inventory, LocalStore, Role, Tier

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
        found = [f"{host.name}: file {path}" for path in self._files(host)]
        done = host.shell.attempt("pgrep", "-f", "-a", f"(guest=|-x |name=){self.prefix}")
        found += [
            f"{host.name}: process {_named(line, self.prefix)}" for line in _lines(done.stdout)
        ]
        if Role.HYPERVISOR not in host.entry.roles:
            return found
        names = [name for name in host.libvirt.domains() if name.startswith(self.prefix)]
        found += [f"{host.name}: domain {name}" for name in names]
        if self.inventory.tier is Tier.LAB:
            done = host.shell.run("ls", "/sys/class/net")
            found += [f"{host.name}: interface {name}" for name in done.stdout.split()]
        return found

    def _files(self, host: Host) -> list[str]:
        folders = [str(host.entry.scratch), *_LIBVIRT]
        for store in self.inventory.stores:
            match store:
                case DirectoryStore() | LocalStore():
                    folders.append(str(store.path))
                case _ if store.server == host.name:
                    folders.append(str(store.directory))
        done = host.shell.attempt("find", *folders, "-name", f"{self.prefix}*")
        return [path for path in _lines(done.stdout) if path]


def _lines(text: str) -> list[str]:
    return text.strip().splitlines()


def _named(line: str, prefix: str) -> str:
    """The name that a command line holds; ids of processes differ from look to look."""
    return next((word for word in line.replace(",", " ").split() if prefix in word), line)
