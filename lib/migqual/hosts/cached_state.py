"""Cache saved states on a host, so later runs do not boot a guest for a new state.

A host caches states when the scratch directory has a folder `states`. A lab has a common folder
for all hosts. On a real host the user creates the folder to turn on the cache. The file name
holds a checksum of all inputs of the state.
"""

from dataclasses import dataclass
from pathlib import PurePosixPath

from lxml import etree

from migqual.hosts.host import Host
from migqual.image import build_cache
from migqual.inventory.entities import SAVED_STATES_FOLDER

# Another worker may read or write the same file, so each file is replaced as a whole.
_STORE_SCRIPT = """\
test -d "$1" || exit 0
cp -- "$3" "$1/.$2.$$" && mv -- "$1/.$2.$$" "$1/$2" && exit 0
rm -f -- "$1/.$2.$$"
exit 1
"""
_COPY_SCRIPT = 'test -e "$1/$2" || exit 1; touch -- "$1/$2"; exec cp -- "$1/$2" "$3"'


@dataclass(frozen=True)
class CachedState:
    """The place of a saved state in the cache of `host`. The file may be missing."""

    host: Host
    key: str

    def copy_to(self, path: PurePosixPath) -> bool:
        """Copy the cached state to `path`; return False without a cached state."""
        return self._run_script(_COPY_SCRIPT, path)

    def store_from(self, path: PurePosixPath) -> bool:
        """Store a copy of the state at `path` when the host has the cache folder.

        Returns:
            False when the copy fails; True also without the folder.
        """
        return self._run_script(_STORE_SCRIPT, path)

    def remove_file(self) -> None:
        """Remove the cached state, so a later guest creates a new state."""
        self.host.shell.run("rm", "-f", "--", self.path)

    @property
    def path(self) -> PurePosixPath:
        """Return the path of the cached state on the host."""
        return self.host.entry.scratch / SAVED_STATES_FOLDER / self.key

    def _run_script(self, script: str, path: PurePosixPath) -> bool:
        argv = ("sh", "-c", script, "sh", self.path.parent, self.key, path)
        return self.host.shell.run_unchecked(*argv).status == 0


def compute_cache_key(host: Host, *inputs: str) -> str:
    """Compute the cache key of a saved state.

    The key covers `inputs` (the description of the guest), the libvirt and QEMU versions and
    the CPU of `host`.
    """
    versions = host.libvirt.query_versions()
    cpu_element = host.libvirt.query_capabilities().find("host/cpu")
    cpu_xml = "" if cpu_element is None else etree.tostring(cpu_element).decode()
    return build_cache.compute_key("state", *inputs, versions["libvirt"], versions["qemu"], cpu_xml)
