"""Build root file systems (rootfs) for lab hosts. Hosts with the same packages share a rootfs."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from migqual import paths
from migqual.architecture import Architecture, get_machine_architecture
from migqual.image.rootfs import RootfsSpec, ensure_rootfs
from migqual.lab.topology import LabHost, LabRole, Topology

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
    guest = topology.guest_architecture
    specs = {name: choose_rootfs(host, guest) for name, host in topology.hosts.items()}
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


def choose_rootfs(host: LabHost, guest: Architecture) -> RootfsSpec | Path:
    """Return the rootfs path in the topology, or else the specification of a rootfs to build.

    Args:
        host: Description of the host in the topology.
        guest: Architecture of the guests.
    """
    if host.rootfs is not None:
        return host.rootfs
    packages = {*host.role.packages, *host.packages, *host.quirks.packages}
    if host.role is LabRole.HYPERVISOR:
        # guests that do not belong to migqual need QEMU for the machine's architecture
        packages |= {*guest.emulator_packages, *get_machine_architecture().emulator_packages}
    return RootfsSpec(host.release, tuple(sorted(packages)))
