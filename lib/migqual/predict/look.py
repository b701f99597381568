"""What a prediction stands on, measured at a guest that is not migrated yet. The guest runs on."""

from contextlib import suppress
from dataclasses import dataclass

from lxml import etree

from migqual.errors import HostError, UnsupportedError
from migqual.hosts import dirty_rate
from migqual.hosts.dirty_rate import MOST_SAMPLES, Measured, Mode
from migqual.hosts.domain import Domain
from migqual.hosts.host import Host
from migqual.predict.fit import Fitted, fitted
from migqual.preflight.tools import Probes, Tools

SECONDS = (1.0, 2.0, 5.0)
_SHORT_SECONDS = (0.2, 0.5)  # where the stack takes milliseconds
_PAGE = 4096
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
    def load(self) -> Fitted:
        return fitted(self.windows)


def look(host: Host, domain: Domain, tools: Tools) -> Seen:
    """Measure the dirty curve, then count the pages that are not zero.

    Through libvirt where the guest may not be tainted; through QEMU's monitor it is known better:
    more samples, and shorter windows where the stack has them.
    """
    quietly = tools.probes is Probes.READ_ONLY
    measured = _by_libvirt(domain) if quietly else _by_monitor(domain)
    windows = {found.seconds: found.mib for found in measured}
    told = measured[0].mode
    kib = int(etree.fromstring(domain.live_xml()).findtext("memory") or 0)
    pages = _census(host, domain, kib, tools)
    whole = kib / _KIB_OF_MIB
    memory = whole if pages is None else pages * _PAGE / 2**20
    return Seen(memory, whole, pages is not None, windows, told)


def _by_monitor(domain: Domain) -> list[Measured]:
    mode = trusted(domain)
    samples = MOST_SAMPLES if mode is Mode.SAMPLING else None
    short = _SHORT_SECONDS if dirty_rate.measures_milliseconds(domain) else ()
    return [
        dirty_rate.by_monitor(domain, seconds, mode, samples=samples)
        for seconds in (*short, *SECONDS)
    ]


def _by_libvirt(domain: Domain) -> list[Measured]:
    """libvirt has no word for which modes there are: it is asked, and may refuse."""
    if dirty_rate.counts_kvm(domain):
        with suppress(UnsupportedError):
            return [dirty_rate.by_libvirt(domain, int(s), Mode.BITMAP) for s in SECONDS]
    return [dirty_rate.by_libvirt(domain, int(s)) for s in SECONDS]


def trusted(domain: Domain) -> Mode:
    """KVM's log where there is one: it is what a migration reads. Contents elsewhere."""
    if dirty_rate.counts_kvm(domain) and Mode.BITMAP in dirty_rate.modes(domain):
        return Mode.BITMAP
    return Mode.SAMPLING


def _census(host: Host, domain: Domain, kib: int, tools: Tools) -> int | None:
    """Pages that are not zero; None where QEMU's memory is not one map of that size."""
    pids = host.processes_of(domain.name)
    if not pids:
        raise HostError(host.name, f"no QEMU process of {domain.name}")
    argv = (tools.payload(host), "census", "--pid", str(pids[0]), "--kib", str(kib))
    done = host.shell.attempt(*argv)
    return int(done.stdout) if done.status == 0 else None
