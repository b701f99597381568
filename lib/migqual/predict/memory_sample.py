"""Sample a guest's memory on the host: non-zero pages, and pages changed within a time.

The payload reads the memory of the QEMU process, without a request to the guest or to QEMU's
monitor. A page written again with the same contents is not detected. A page not touched before
the sample is not detected either.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from migqual.errors import HostError
from migqual.hosts.domain import Domain
from migqual.hosts.host import Host
from migqual.probes.probe_context import ProbeContext
from migqual.units import MIB

PAGE_CONTENTS_MODE = "page-contents"
_PAGE_BYTES = 4096
_KIB_PER_GIB = 2**20
_SAMPLES_PER_GIB = 16384  # as many as QEMU takes at most
_MAX_SAMPLES = 131072


@dataclass(frozen=True)
class MemorySample:
    """A sample of a guest's memory.

    Attributes:
        nonzero_mib: Memory in pages not all zero.
        dirtied_mib_by_seconds: Memory changed in each window in MiB, by window length in s.
    """

    nonzero_mib: float
    dirtied_mib_by_seconds: dict[float, float]


def sample_memory(
    host: Host,
    domain: Domain,
    memory_kib: int,
    probe_context: ProbeContext,
    windows_s: Sequence[float],
) -> MemorySample | None:
    """Sample the guest's memory with the payload.

    All windows begin together, so the sample takes as long as the longest window.

    Args:
        host: Host of the guest.
        domain: The running guest.
        memory_kib: Size of the guest's memory in KiB.
        probe_context: Context with the payload on the host.
        windows_s: Window lengths in s, in ascending order.

    Returns:
        The sample; None when QEMU's memory is not a single mapping of the given size.

    Raises:
        HostError: The host has no QEMU process for the domain.
    """
    pids = host.list_qemu_pids(domain.name)
    if not pids:
        raise HostError(host.name, f"there is no QEMU process of guest {domain.name}")
    samples = min(_MAX_SAMPLES, _SAMPLES_PER_GIB * max(1, memory_kib // _KIB_PER_GIB))
    argv = [
        probe_context.get_payload_path(host),
        "census",
        "--pid",
        str(pids[0]),
        "--kib",
        str(memory_kib),
    ]
    argv += ["--samples", str(samples)]
    argv += ["--windows", ",".join(f"{seconds * 1000:.0f}" for seconds in windows_s)]
    result = host.shell.run_unchecked(*argv)
    return parse_memory_sample(result.stdout) if result.status == 0 else None


def parse_memory_sample(text: str) -> MemorySample:
    """Parse the output of the payload.

    The first line is `FILLED BACKED SAMPLED`, in pages. A line `MICROSECONDS CHANGED` follows
    for each window long enough to read all sampled pages.
    """
    (filled_pages, backed_pages, sampled_pages), *window_rows = (
        [int(number) for number in line.split()] for line in text.splitlines()
    )
    mib_per_sample = backed_pages / sampled_pages * _PAGE_BYTES / MIB if sampled_pages else 0.0
    dirtied_mib_by_seconds = {
        round(microseconds / 1e6, 3): changed_samples * mib_per_sample
        for microseconds, changed_samples in window_rows
    }
    return MemorySample(filled_pages * _PAGE_BYTES / MIB, dirtied_mib_by_seconds)
