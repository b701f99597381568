"""Build Debian root file systems (rootfs) with mmdebstrap."""

import os
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from migqual.architecture import Architecture
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
    "if mmdebstrap is missing, run `apt-get install mmdebstrap` as root; if apt failed, correct "
    "the apt settings of the machine, or set MIGQUAL_MIRROR to another mirror; if the disk of the "
    "cache is full, free 2 GiB"
)
# The machine's settings that decide whether apt reaches and accepts a mirror (apt.conf(5)).
_MIRROR_SETTINGS = (
    "Acquire::AllowInsecureRepositories",
    "Acquire::AllowReleaseInfoChange",
    "Acquire::Check-Date",
    "Acquire::Check-Valid-Until",
    "Acquire::ForceIPv4",
    "Acquire::ForceIPv6",
    "Acquire::Max-ValidTime",
    "Acquire::Min-ValidTime",
    "Acquire::Retries",
    "Acquire::http",
    "Acquire::https",
    "Acquire::proxy",
    "APT::Get::AllowUnauthenticated",
)
_CREDENTIAL_SETTINGS = (
    'Dir::Etc::netrc "/etc/apt/auth.conf"',
    'Dir::Etc::netrcparts "/etc/apt/auth.conf.d"',
)
_OPTIONS_FILE = "etc/apt/apt.conf.d/99mmdebstrap"


@dataclass(frozen=True)
class RootfsSpec:
    """The contents of a root file system (rootfs) that mmdebstrap builds.

    Attributes:
        release: Debian release.
        packages: Debian packages to install.
        variant: Value of the mmdebstrap option `--variant`.
        architecture: Architecture of the packages. None means the architecture of the machine. For
            another architecture only the variant `extract` is possible. With this variant,
            mmdebstrap runs no program from the packages.
    """

    release: str
    packages: tuple[str, ...]
    variant: str = "minbase"
    architecture: Architecture | None = None

    @property
    def key(self) -> str:
        """Return the cache key of the rootfs. The order of the packages does not matter."""
        return build_cache.compute_key(
            "tree",
            FORMAT_VERSION,
            self.release,
            self.variant,
            sorted(set(self.packages)),
            *((str(self.architecture),) if self.architecture else ()),
        )


def ensure_rootfs(spec: RootfsSpec, cache: Path, report_progress: Callable[[str], None]) -> Path:
    """Return the path of the rootfs for `spec`; build the rootfs if the cache has none.

    The caller must not change the rootfs, because later calls return the same folder. The build
    for a lab host takes half a minute.

    Args:
        spec: Release, packages and variant of the rootfs.
        cache: Root folder of the cache.
        report_progress: Called with a line of text before a build.

    Raises:
        LabError: The user is not root, or mmdebstrap failed. The message contains the last
            lines of mmdebstrap's output.
    """

    def build_rootfs(partial_path: Path) -> None:
        report_progress(
            f"building a root file system from {len(spec.packages)} packages of Debian "
            f"{spec.release}"
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
    argv = ["mmdebstrap", "--mode=root", "--format=directory"]
    argv += [f"--variant={spec.variant}", '--aptopt=Acquire::Languages "none"']
    if spec.architecture is not None:
        argv.append(f"--architectures={spec.architecture.debian_name}")
    argv += [f"--aptopt={setting}" for setting in (*_CREDENTIAL_SETTINGS, *list_apt_settings())]
    # proxies and paths of the machine do not belong to the rootfs
    argv.append(f'--customize-hook=rm "$1/{_OPTIONS_FILE}"')
    argv += [f"--dpkgopt=path-exclude={pattern}" for pattern in _EXCLUDED_PATHS]
    if spec.packages:
        argv.append(f"--include={','.join(sorted(set(spec.packages)))}")
    # Without MIGQUAL_MIRROR mmdebstrap uses the mirror of the distribution.
    mirror = os.environ.get("MIGQUAL_MIRROR")
    return [*argv, spec.release, str(target), *([mirror] if mirror else [])]


def list_apt_settings() -> list[str]:
    """List the apt settings of the machine that affect downloads from mirrors, such as proxies.

    Returns:
        Lines of `apt-config dump`, for example ``Acquire::http::Proxy "http://proxy:3128"``.
    """
    dump = subprocess.run(["apt-config", "dump"], capture_output=True, text=True, check=False)
    return select_mirror_settings(dump.stdout)


def select_mirror_settings(dump: str) -> list[str]:
    """Select the settings in an `apt-config dump` output that affect downloads from mirrors."""
    prefixes = tuple(name.lower() for name in _MIRROR_SETTINGS)
    settings = []
    for line in dump.splitlines():
        name, _, value = line.rstrip(";").partition(" ")
        is_mirror_setting = any(
            name.lower() == prefix or name.lower().startswith(f"{prefix}::") for prefix in prefixes
        )
        if is_mirror_setting and value != '""':
            settings.append(f"{name} {value}")
    return settings
