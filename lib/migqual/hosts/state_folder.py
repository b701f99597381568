"""Saved states that stay on a host, so that later runs need not boot a guest to make them.

They are kept where the scratch directory of the host has a folder `states`: a lab has one for all
its hosts, on a host of one's own whoever wants it makes it. The name of a file holds a sum of
everything that the state depends on.
"""

from dataclasses import dataclass
from pathlib import PurePosixPath

from lxml import etree

from migqual.hosts.host import Host
from migqual.image import store
from migqual.model.inventory import STATES

# Another worker may read or write the same file: it comes and goes as a whole.
_ADD = """\
test -d "$1" || exit 0
cp -- "$3" "$1/.$2.$$" && mv -- "$1/.$2.$$" "$1/$2" && exit 0
rm -f -- "$1/.$2.$$"
exit 1
"""
_TAKE = 'test -e "$1/$2" || exit 1; touch -- "$1/$2"; exec cp -- "$1/$2" "$3"'


@dataclass(frozen=True)
class KeptState:
    """The place of one state in the folder of `host`, whether or not it is there."""

    host: Host
    key: str

    def take(self, path: PurePosixPath) -> bool:
        """Copy the state to `path`; False where there is none."""
        return self._run(_TAKE, path)

    def add(self, path: PurePosixPath) -> bool:
        """Keep a copy of the state at `path`, where the host has the folder."""
        return self._run(_ADD, path)

    def remove(self) -> None:
        """Remove the state, so that it is made anew."""
        self.host.shell.run("rm", "-f", "--", self.path)

    @property
    def path(self) -> PurePosixPath:
        return self.host.entry.scratch / STATES / self.key

    def _run(self, script: str, path: PurePosixPath) -> bool:
        argv = ("sh", "-c", script, "sh", self.path.parent, self.key, path)
        return self.host.shell.attempt(*argv).status == 0


def compute_state_key(host: Host, *inputs: str) -> str:
    """Name the state of a guest that `inputs` describe, made by the stack and the CPU of `host`."""
    versions = host.libvirt.versions()
    cpu = host.libvirt.capabilities().find("host/cpu")
    processor = "" if cpu is None else etree.tostring(cpu).decode()
    return store.key_of("state", *inputs, versions["libvirt"], versions["qemu"], processor)
