"""Check that a host can run the guests that a profile or an inventory describes."""

from collections.abc import Iterator, Sequence

from migqual.hosts.host import Host
from migqual.inventory.guest_size import GuestSize
from migqual.model.finding import Finding, Severity
from migqual.preflight.host_facts import query_available_mib, read_free_hugepages_mib
from migqual.probes.fact import Missing, fact_or_missing


def check_guest_sizes(host: Host, sizes: Sequence[GuestSize]) -> Iterator[Finding]:
    """Yield a finding for each size: whether the host has the memory and the CPUs for one guest.

    Raises:
        HostError: The connection is lost.
    """
    if not sizes:
        return
    cpus = int(host.libvirt.query_node_info()["cpus"])
    for size in sizes:
        yield judge_guest_size(host.name, size, cpus, _query_free_mib(host, size))


def _query_free_mib(host: Host, size: GuestSize) -> int:
    """Query the free memory for guests of `size`, in MiB.

    For guests with huge pages, for example of 1 GiB, only the free huge pages of 1 GiB count. If
    the host has no huge pages of 1 GiB, the result is 0.
    """
    free_mib = (
        fact_or_missing(lambda: read_free_hugepages_mib(host, size.huge_page_kib))
        if size.huge_page_kib
        else query_available_mib(host)
    )
    return 0 if isinstance(free_mib, Missing) else free_mib


def judge_guest_size(host: str, size: GuestSize, cpus: int, free_mib: int) -> Finding:
    """Judge whether a host has the memory and the CPUs for a guest.

    Args:
        host: Name of the host.
        size: Size of the guest.
        cpus: Number of CPUs of the host.
        free_mib: Free memory of the host in MiB. For a guest with huge pages, for example of
            1 GiB, only the free huge pages of 1 GiB count.
    """
    finding_id = f"{host}.guest-{size.name}"
    if free_mib < size.memory_mib:
        kind = f"in huge pages of {size.huge_pages}" if size.huge_pages else "of memory"
        return Finding(
            finding_id,
            Severity.REFUSED,
            f"the guest {size.name} needs {size.memory_mib} MiB {kind}, but {host} has "
            f"{free_mib} MiB free",
            {"needed_mib": size.memory_mib, "free_mib": free_mib},
            remedy=_suggest_memory(host, size),
        )
    if size.vcpus > cpus:
        return Finding(
            finding_id,
            Severity.WARNING,
            f"the guest {size.name} has {size.vcpus} vCPUs, but {host} has {cpus} CPUs",
            remedy=f"give the guest {size.name} fewer vcpus",
        )
    message = f"{host} has the CPUs and the memory for the guest {size.name}"
    return Finding(finding_id, Severity.OK, message)


def _suggest_memory(host: str, size: GuestSize) -> str:
    if not size.huge_page_kib:
        return f"give the guest {size.name} less memory_mib, or stop other guests"
    page_count = size.memory_mib * 1024 // size.huge_page_kib
    folder = f"/sys/kernel/mm/hugepages/hugepages-{size.huge_page_kib}kB"
    return f"on {host}, write at least {page_count} to {folder}/nr_hugepages"
