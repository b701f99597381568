"""Build root file systems (rootfs) for lab hosts. Hosts with the same packages share a rootfs."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from migqual import paths
from migqual.image.rootfs import RootfsSpec, ensure_rootfs
from migqual.lab.topology import LabHost, Topology

ProgressCallback = Callable[[str], None]


def ensure_host_rootfs(topology: Topology, report_progress: ProgressCallback) -> dict[str, Path]:
    """Build each missing root file system (rootfs) of the hosts of a lab.

    Hosts with the same release and the same packages share a rootfs. At most two builds run at
    the same time.

    Args:
        topology: Topology of the lab.
        report_progress: Called with a line of text for each build.

    Returns:
        The path of the rootfs by host name.

    Raises:
        LabError: A build failed.
    """
    specs = {name: choose_rootfs(host) for name, host in topology.hosts.items()}
    unique_specs = {spec for spec in specs.values() if isinstance(spec, RootfsSpec)}
    with ThreadPoolExecutor(max_workers=2) as pool:
        rootfs_by_spec = dict(
            zip(
                unique_specs,
                pool.map(
                    lambda spec: ensure_rootfs(spec, paths.get_cache_folder(), report_progress),
                    unique_specs,
                ),
                strict=True,
            )
        )
    return {
        name: rootfs_by_spec[spec] if isinstance(spec, RootfsSpec) else spec
        for name, spec in specs.items()
    }


def choose_rootfs(host: LabHost) -> RootfsSpec | Path:
    """Return the rootfs path in the topology, or else the specification of a rootfs to build."""
    if host.rootfs is not None:
        return host.rootfs
    packages = {*host.role.packages, *host.packages, *host.quirks.packages}
    return RootfsSpec(host.release, tuple(sorted(packages)))
