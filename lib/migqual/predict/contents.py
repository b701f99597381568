"""A guest's memory as its host sees it: what is not zero, and how much of it changes in a time.

The payload reads the QEMU process; the guest and its monitor are asked nothing. A page that is
written with what it held is not seen, nor is one that was never touched before.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from migqual.errors import HostError
from migqual.hosts.domain import Domain
from migqual.hosts.host import Host
from migqual.preflight.tools import Tools

MODE = "page-contents"
_PAGE = 4096
_MIB = 2**20
_KIB_OF_GIB = 2**20
_SAMPLES_OF_GIB = 16384  # as many as QEMU takes at most
_MOST_SAMPLES = 131072


@dataclass(frozen=True)
class Contents:
    """filled_mib: pages that are not all zero; windows: s and what changed in each, MiB."""

    filled_mib: float
    windows: dict[float, float]


def contents(
    host: Host, domain: Domain, kib: int, tools: Tools, windows_s: Sequence[float]
) -> Contents | None:
    """Windows of one look after another, the longest takes as long as all. None where QEMU's
    memory is not one map of `kib`; raises `HostError` where there is no QEMU of that name."""
    pids = host.processes_of(domain.name)
    if not pids:
        raise HostError(host.name, f"no QEMU process of {domain.name}")
    samples = min(_MOST_SAMPLES, _SAMPLES_OF_GIB * max(1, kib // _KIB_OF_GIB))
    argv = [tools.payload(host), "census", "--pid", str(pids[0]), "--kib", str(kib)]
    argv += ["--samples", str(samples)]
    argv += ["--windows", ",".join(f"{seconds * 1000:.0f}" for seconds in windows_s)]
    done = host.shell.attempt(*argv)
    return parsed(done.stdout) if done.status == 0 else None


def parsed(text: str) -> Contents:
    """`FILLED BACKED SAMPLED` in pages, then `MICROSECONDS CHANGED` for each window that was long
    enough for a look."""
    (filled, backed, sampled), *looks = (
        [int(word) for word in ln.split()] for ln in text.splitlines()
    )
    mib_of_each = backed / sampled * _PAGE / _MIB if sampled else 0.0
    windows = {round(micros / 1e6, 3): changed * mib_of_each for micros, changed in looks}
    return Contents(filled * _PAGE / _MIB, windows)
