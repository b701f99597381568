"""What a prediction stands on, measured at a guest that is not migrated yet. The guest runs on."""

from contextlib import suppress
from dataclasses import dataclass

from lxml import etree

from migqual.errors import UnsupportedError
from migqual.hosts import dirty_rate
from migqual.hosts.dirty_rate import MOST_SAMPLES, Measured, Mode
from migqual.hosts.domain import Domain
from migqual.hosts.host import Host
from migqual.predict.contents import MODE, contents
from migqual.predict.curves import Dirtying
from migqual.predict.fit import fitted
from migqual.preflight.tools import Probes, Tools

SECONDS = (1.0, 2.0, 5.0)  # what every stack measures
WINDOWS_S = (0.1, 0.2, 0.5, *SECONDS)
_KIB_OF_MIB = 1024


@dataclass(frozen=True)
class Seen:
    """memory_mib: not zero, of all_mib; windows: s and what was dirtied in each, MiB.

    counted  whether the pages were counted; if not, all memory is taken to be sent
    """

    memory_mib: float
    all_mib: float
    counted: bool
    windows: dict[float, float]
    mode: str

    @property
    def load(self) -> Dirtying:
        return fitted(self.windows)


def look(host: Host, domain: Domain, tools: Tools) -> Seen:
    """Count the pages that are not zero, and measure the dirty curve.

    KVM's log is what a migration reads, and comes first where it is; what it has no window for, and
    guests without it, are told by the contents of pages. Where those are not to be found, QEMU's
    sampling is asked.
    """
    kib = int(etree.fromstring(domain.live_xml()).findtext("memory") or 0)
    whole = kib / _KIB_OF_MIB
    logged = _log(domain, tools)
    found = contents(host, domain, kib, tools, _unknown(logged))
    seen = found.windows if found else {}  # none, too, where a look takes longer than all windows
    told = logged or ([] if seen else _sampled(domain, tools))
    windows = seen | {one.seconds: one.mib for one in told}
    mode = told[0].mode if told else MODE
    return Seen(found.filled_mib if found else whole, whole, found is not None, windows, mode)


def _unknown(logged: list[Measured]) -> tuple[float, ...]:
    """Windows that the log did not tell: all, or those shorter than a second."""
    return tuple(seconds for seconds in WINDOWS_S if not logged or seconds < min(SECONDS))


def _log(domain: Domain, tools: Tools) -> list[Measured]:
    """KVM's log. Nothing says beforehand whether it can be read: a guest with a dirty ring has
    none, and its QEMU lists the mode all the same. It is asked, and may refuse."""
    if not dirty_rate.counts_kvm(domain):
        return []  # an emulated guest may die of the question
    with suppress(UnsupportedError):
        if tools.probes is Probes.READ_ONLY:
            return [dirty_rate.by_libvirt(domain, int(s), Mode.BITMAP) for s in SECONDS]
        if Mode.BITMAP in dirty_rate.modes(domain):
            return [dirty_rate.by_monitor(domain, seconds, Mode.BITMAP) for seconds in SECONDS]
    return []


def _sampled(domain: Domain, tools: Tools) -> list[Measured]:
    """Through libvirt where the guest may not be tainted; QEMU's monitor takes more samples."""
    if tools.probes is Probes.READ_ONLY:
        return [dirty_rate.by_libvirt(domain, int(seconds)) for seconds in SECONDS]
    return [
        dirty_rate.by_monitor(domain, seconds, Mode.SAMPLING, samples=MOST_SAMPLES)
        for seconds in SECONDS
    ]
