"""Build Debian root file systems (rootfs) with mmdebstrap."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from migqual.errors import LabError
from migqual.image import build_cache, isolated_command

FORMAT_VERSION = 1
# Manuals and translations are a third of a rootfs, and no program in a lab reads a manual.
_EXCLUDED_PATHS = (
    "/usr/share/doc/*",
    "/usr/share/man/*",
    "/usr/share/locale/*",
    "/usr/share/info/*",
)
_REMEDY = (
    "as root: `apt-get install mmdebstrap`; check that apt reaches its mirror and that the cache's "
    "disk has 2 GiB free; set MIGQUAL_MIRROR to use another mirror"
)


@dataclass(frozen=True)
class RootfsSpec:
    """The contents of a rootfs.

    Attributes:
        release: Debian release.
        packages: Debian packages to install.
        variant: Variant of mmdebstrap.
    """

    release: str
    packages: tuple[str, ...]
    variant: str = "minbase"

    @property
    def key(self) -> str:
        """Return the cache key of the rootfs. The order of the packages does not matter."""
        return build_cache.compute_key(
            "tree", FORMAT_VERSION, self.release, self.variant, sorted(set(self.packages))
        )


def ensure_rootfs(spec: RootfsSpec, cache: Path, report_progress: Callable[[str], None]) -> Path:
    """Return the rootfs of the specification, built if the cache has none.

    Never write to the rootfs. A build takes half a minute for a host.

    Args:
        spec: Release, packages and variant of the rootfs.
        cache: Root folder of the cache.
        report_progress: Called with a line of text before a build.

    Raises:
        LabError: The user is not root, or mmdebstrap failed. The message contains the last
            lines of mmdebstrap.
    """

    def build_rootfs(partial_path: Path) -> None:
        report_progress(
            f"building a root file system of {spec.release} with {len(spec.packages)} packages"
        )
        isolated_command.run_isolated(
            _build_mmdebstrap_command(spec, partial_path),
            subject=f"root file system {spec.release}",
            remedy=_REMEDY,
        )

    if os.geteuid() != 0:
        raise LabError("only root can build a root file system", remedy="run as root")
    return build_cache.ensure_cached(cache / "trees" / f"{spec.release}-{spec.key}", build_rootfs)


def _build_mmdebstrap_command(spec: RootfsSpec, target: Path) -> list[str]:
    argv = ["mmdebstrap", "--quiet", "--mode=root", "--format=directory"]
    argv += [f"--variant={spec.variant}", '--aptopt=Acquire::Languages "none"']
    argv += [f"--dpkgopt=path-exclude={pattern}" for pattern in _EXCLUDED_PATHS]
    if spec.packages:
        argv.append(f"--include={','.join(sorted(set(spec.packages)))}")
    # Without MIGQUAL_MIRROR mmdebstrap uses the mirror of the distribution, with the machine's apt
    # settings.
    mirror = os.environ.get("MIGQUAL_MIRROR")
    return [*argv, spec.release, str(target), *([mirror] if mirror else [])]
