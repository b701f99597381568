"""Cache saved states (libvirt save files) of guests on a host, so that later guests need no boot.

The cache is the folder `states` in the scratch directory of the host (`migqual_scratch`). Without
the folder, nothing is cached. All labs of a machine share a single folder. On a real host the user
creates the folder to turn on the cache. `compute_cache_key` returns the name of a cached file.
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
    """The place of a saved state (a libvirt save file) in the cache of `host`.

    The file exists only if migqual has stored the state.

    Attributes:
        key: Name of the file, from `compute_cache_key`.
    """

    host: Host
    key: str

    def copy_to(self, path: PurePosixPath) -> bool:
        """Copy the file from the cache to `path` on the host.

        Returns:
            True after the copy. False if the cache does not contain the file or the copy fails.
        """
        return self._run_script(_COPY_SCRIPT, path)

    def store_from(self, path: PurePosixPath) -> bool:
        """Copy the save file `path` on the host into the cache.

        Returns:
            False if the copy fails, otherwise True. On a host without a cache folder the method
            copies nothing and returns True.
        """
        return self._run_script(_STORE_SCRIPT, path)

    def remove_file(self) -> None:
        """Remove the save file from the cache folder of the host."""
        self.host.shell.run("rm", "-f", "--", self.path)

    @property
    def path(self) -> PurePosixPath:
        """Return the path of the guest's save file in `states`, the cache folder of the host."""
        return self.host.entry.scratch / SAVED_STATES_FOLDER / self.key

    def _run_script(self, script: str, path: PurePosixPath) -> bool:
        argv = ("sh", "-c", script, "sh", self.path.parent, self.key, path)
        return self.host.shell.run_unchecked(*argv).status == 0


def compute_cache_key(host: Host, *inputs: str) -> str:
    """Compute the checksum that is the file name of a saved state in the cache.

    The checksum covers `inputs` (the description of the guest), the CPU of `host`, and the
    versions of libvirt and QEMU on `host`.
    """
    versions = host.query_versions()
    cpu_element = host.libvirt.query_capabilities().find("host/cpu")
    cpu_xml = "" if cpu_element is None else etree.tostring(cpu_element).decode()
    return build_cache.compute_key("state", *inputs, versions["libvirt"], versions["qemu"], cpu_xml)
