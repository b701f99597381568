"""Collect kernel modules with all dependencies, in loading order."""

import lzma
import re
from collections.abc import Iterable
from pathlib import Path

from migqual.errors import LabError

_DEPENDS = re.compile(rb"\0depends=([^\0]*)\0")


class KernelModules:
    """The modules of a kernel, from a folder `/lib/modules/VERSION` in a rootfs.

    The class reads the dependencies from the module files, not from the output of `depmod`.
    """

    def __init__(self, folder: Path) -> None:
        self._files = {
            _normalize_module_name(path.name): path for path in sorted(folder.rglob("*.ko*"))
        }
        builtin_paths = (folder / "modules.builtin").read_text().split()
        self._builtin = {_normalize_module_name(Path(line).name) for line in builtin_paths}

    def collect_with_dependencies(
        self, required_names: Iterable[str], optional_names: Iterable[str] = ()
    ) -> dict[str, bytes]:
        """Collect the contents of modules and of all dependencies.

        The result leaves out modules that are built into the kernel, and missing optional modules.

        Args:
            required_names: Names of the necessary modules.
            optional_names: Names of modules to add if present.

        Returns:
            Decompressed contents of each module by name. A module comes after all modules that
            the module needs.

        Raises:
            LabError: A required module or a dependency is missing, or a module file has an
                unknown compression.
        """
        loading_order: dict[str, bytes] = {}
        for name in required_names:
            self._add_module(_normalize_module_name(name), loading_order)
        for name in optional_names:
            if _normalize_module_name(name) in self._files:
                self._add_module(_normalize_module_name(name), loading_order)
        return loading_order

    def _add_module(self, name: str, loading_order: dict[str, bytes]) -> None:
        if name in loading_order or name in self._builtin:
            return
        if name not in self._files:
            raise LabError(
                f"the guest kernel has no module {name}",
                remedy="choose another Debian release for the guest image",
            )
        data = _read_module(self._files[name])
        match = _DEPENDS.search(data)
        for dependency in (match.group(1).decode() if match else "").split(","):
            if dependency:
                self._add_module(_normalize_module_name(dependency), loading_order)
        loading_order[name] = data


def _normalize_module_name(name: str) -> str:
    return name.partition(".ko")[0].replace("-", "_")


def _read_module(path: Path) -> bytes:
    if path.suffix == ".xz":
        return lzma.decompress(path.read_bytes())
    if path.suffix == ".ko":
        return path.read_bytes()
    raise LabError(
        f"{path.name}: only kernel modules *.ko and *.ko.xz can be read",
        remedy="choose another Debian release for the guest image",
    )
