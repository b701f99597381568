"""Find leftovers on hosts: files, processes and domains whose names have the prefix of the run."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from migqual.hosts.guest_identity import MAC_PREFIX
from migqual.hosts.host import Host
from migqual.inventory.entities import HostRole, Inventory, Tier
from migqual.inventory.stores import DirectoryStore, LocalStore

TABLE_PREFIX = "mq_"  # of the names of migqual's tables of nftables
# libvirt gives a tap the MAC of the guest, with fe as the first byte
TAP_MAC_PREFIX = f"fe:{MAC_PREFIX.split(':', 1)[1]}"
_LIST_SEPARATOR = "--"  # between two lists in the output of the script
# A single script prints all lists, because an SSH command takes longer than the search itself. A
# name may have text before our prefix: libvirt names the folder of a guest `domain-7-mq-...`, and
# systemd writes `-` in the name of a unit as `\x2d`. No word of the script matches the pattern of
# `pgrep`, so `pgrep` does not list the script. A program that is missing or fails ends the script
# with an error.
_LIST_SCRIPT = f"""\
set -e
prefix=$1
shift
unit=$(printf %s "$prefix" | sed 's/-/\\\\\\\\x2d/g')
for folder in "$@"; do
    if [ -e "$folder" ]; then
        find "$folder" -ignore_readdir_race -name "*$prefix*" -o -name "*$unit*"
    fi
done
echo {_LIST_SEPARATOR}
pgrep -f -a "(guest=|-x |name=|/)($prefix|mq-compare-)" || [ $? = 1 ]
echo {_LIST_SEPARATOR}
ls /sys/class/net
echo {_LIST_SEPARATOR}
cat /sys/class/net/*/address | grep -i '^{TAP_MAC_PREFIX}' || [ $? = 1 ]
echo {_LIST_SEPARATOR}
grep -F "$prefix" /proc/self/mounts || [ $? = 1 ]
echo {_LIST_SEPARATOR}
if command -v nft >/dev/null; then nft list tables | grep {TABLE_PREFIX} || [ $? = 1 ]; fi
"""
# folders of libvirt, QEMU and systemd with files of a guest
_SYSTEM_FOLDERS = (
    "/etc/libvirt/qemu",
    "/run/libvirt",
    "/var/lib/libvirt/qemu",
    "/var/lib/libvirt/swtpm",
    "/var/log/libvirt",
    "/dev/shm",  # noqa: S108 - shared memory of guests, searched for leftovers
    "/dev/hugepages",
    "/sys/fs/cgroup",
)


@dataclass(frozen=True)
class LeftoverAudit:
    """The search for leftovers on hosts, before and after a test.

    Leftovers are files, folders, control groups, processes, mounts and domains of the run, and
    network interfaces and nftables of migqual. In a lab, all network interfaces of the hosts are
    listed too.

    Attributes:
        prefix: Beginning of the names of all objects that the run creates on the hosts.
    """

    inventory: Inventory
    prefix: str

    def list_leftovers(self, hosts: tuple[Host, ...]) -> frozenset[str]:
        """List all leftovers on the hosts, for example ``b1: domain mq-3f1c2a-1-2``."""
        with ThreadPoolExecutor(max_workers=len(hosts)) as executor:
            return frozenset(
                line for lines in executor.map(self._list_host_leftovers, hosts) for line in lines
            )

    def _list_host_leftovers(self, host: Host) -> list[str]:
        argv = ("sh", "-c", _LIST_SCRIPT, "sh", self.prefix, *self._list_folders(host))
        files, processes, interfaces, taps, mounts, tables = host.shell.run(*argv).stdout.split(
            f"{_LIST_SEPARATOR}\n"
        )
        leftovers = [f"{host.name}: file {path}" for path in files.splitlines()]
        leftovers += [f"{host.name}: interface with MAC {mac}" for mac in taps.split()]
        leftovers += [f"{host.name}: mount {line.split()[1]}" for line in mounts.splitlines()]
        leftovers += [f"{host.name}: nftables {line}" for line in tables.splitlines()]
        leftovers += [
            f"{host.name}: process {_extract_name(line, self.prefix)}"
            for line in processes.splitlines()
        ]
        if HostRole.HYPERVISOR not in host.entry.roles:
            return leftovers
        domain_names = [
            name for name in host.libvirt.list_domain_states() if name.startswith(self.prefix)
        ]
        leftovers += [f"{host.name}: domain {name}" for name in domain_names]
        if self.inventory.tier is Tier.LAB:
            leftovers += [f"{host.name}: interface {name}" for name in interfaces.split()]
        return leftovers

    def _list_folders(self, host: Host) -> list[str]:
        """List the folders that may contain files of guests. Some of the folders may not exist."""
        folders = [str(host.entry.scratch), *_SYSTEM_FOLDERS]
        for store in self.inventory.stores:
            match store:
                case DirectoryStore() | LocalStore():
                    folders.append(str(store.path))
                case _ if store.server == host.name:
                    folders.append(str(store.directory))
        return folders


def _extract_name(line: str, prefix: str) -> str:
    """Return the first word with the prefix in a line of `pgrep -a`, else the complete line."""
    return next((word for word in line.replace(",", " ").split() if prefix in word), line)
