"""Kernel modules: which are needed, and in which order they load."""

import lzma
import re
from collections.abc import Iterable
from pathlib import Path

from migqual.errors import LabError

_DEPENDS = re.compile(rb"\0depends=([^\0]*)\0")


class Modules:
    """The modules of one kernel, found in `folder` (`/lib/modules/VERSION` of some tree).

    Dependencies are read from the modules themselves, so no depmod has to have run.
    """

    def __init__(self, folder: Path) -> None:
        self._files = {_plain(path.name): path for path in sorted(folder.rglob("*.ko*"))}
        builtin = (folder / "modules.builtin").read_text().split()
        self._builtin = {_plain(Path(line).name) for line in builtin}

    def closure(self, wanted: Iterable[str], optional: Iterable[str] = ()) -> dict[str, bytes]:
        """Contents by name of `wanted` and all that they need, in loading order.

        What is built into the kernel is left out; so is what `optional` names in vain.
        Raises `LabError` when a wanted module is missing.
        """
        order: dict[str, bytes] = {}
        for name in wanted:
            self._add(_plain(name), order)
        for name in optional:
            if _plain(name) in self._files:
                self._add(_plain(name), order)
        return order

    def _add(self, name: str, order: dict[str, bytes]) -> None:
        if name in order or name in self._builtin:
            return
        if name not in self._files:
            raise LabError(
                f"the guest kernel has no module {name}",
                remedy="choose another release for the guest image",
            )
        data = _contents(self._files[name])
        found = _DEPENDS.search(data)
        for needed in (found.group(1).decode() if found else "").split(","):
            if needed:
                self._add(_plain(needed), order)
        order[name] = data


def _plain(name: str) -> str:
    return name.partition(".ko")[0].replace("-", "_")


def _contents(path: Path) -> bytes:
    if path.suffix == ".xz":
        return lzma.decompress(path.read_bytes())
    if path.suffix == ".ko":
        return path.read_bytes()
    raise LabError(f"{path.name}: modules of this compression are not understood")
