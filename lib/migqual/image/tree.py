"""Debian root trees, made by mmdebstrap."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from migqual.errors import LabError
from migqual.image import build, store

FORMAT = 1
# Manuals and translations are a third of a tree and nothing in a lab reads them.
_LEFT_OUT = ("/usr/share/doc/*", "/usr/share/man/*", "/usr/share/locale/*", "/usr/share/info/*")
_REMEDY = (
    "as root: `apt-get install mmdebstrap`; check that apt reaches its mirror and that the cache's "
    "disk has 2 GiB free; MIGQUAL_MIRROR names another mirror"
)


@dataclass(frozen=True)
class TreeSpec:
    """What a root tree consists of. `variant` is one of mmdebstrap's."""

    release: str
    packages: tuple[str, ...]
    variant: str = "minbase"

    @property
    def key(self) -> str:
        """Names the tree in the cache; the order of packages does not matter."""
        return store.key_of("tree", FORMAT, self.release, self.variant, sorted(set(self.packages)))


def ensure_tree(spec: TreeSpec, cache: Path, say: Callable[[str], None]) -> Path:
    """The root tree of `spec`, built if the cache does not hold it. Never write to it.

    Takes half a minute for a host's tree. Raises `LabError` with mmdebstrap's last lines.
    """

    def make(half: Path) -> None:
        say(f"building a {spec.release} tree with {len(spec.packages)} packages")
        build.run(_argv(spec, half), what=f"root tree {spec.release}", remedy=_REMEDY)

    if os.geteuid() != 0:
        raise LabError("a root tree can only be made by root", remedy="run as root")
    return store.ensure(cache / "trees" / f"{spec.release}-{spec.key}", make)


def _argv(spec: TreeSpec, target: Path) -> list[str]:
    argv = ["mmdebstrap", "--quiet", "--mode=root", "--format=directory"]
    argv += [f"--variant={spec.variant}", '--aptopt=Acquire::Languages "none"']
    argv += [f"--dpkgopt=path-exclude={pattern}" for pattern in _LEFT_OUT]
    if spec.packages:
        argv.append(f"--include={','.join(sorted(set(spec.packages)))}")
    # Without a mirror mmdebstrap takes the distribution's own, through the machine's apt settings.
    mirror = os.environ.get("MIGQUAL_MIRROR")
    return [*argv, spec.release, str(target), *([mirror] if mirror else [])]
