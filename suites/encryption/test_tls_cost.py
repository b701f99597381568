"""LM-TLS-05: the cost of encryption, in comparison with a migration without encryption."""

import statistics
from collections.abc import Mapping
from pathlib import PurePosixPath

import allure
import pytest

from fixtures.plugins.encryption import Encryption
from fixtures.plugins.guests import RecordFigures
from migqual.hosts import qemu_threads
from migqual.hosts.guest import Guest
from migqual.hosts.host import Host
from migqual.hosts.provision import Provisioner
from migqual.model.guest_spec import GuestLoad, GuestSpec, MemoryLoad
from migqual.model.metrics import compute_metrics
from migqual.model.plan import Plan
from migqual.testbed.testbed import Testbed

Figures = Mapping[str, float]

ROUNDS = 5
FULL_GUEST = GuestSpec(load=GuestLoad("full", memory=MemoryLoad(size_mib=128)))
PLANS: Mapping[str, Plan] = {
    "plain": Plan(),
    "TLS": Plan(tls=True),
    "TLS, 4 channels": Plan(tls=True, channels=4),
}
# the documented maximum of a single encrypted channel, MB/s: from, to
DOCUMENTED_LIMITS_MB_S = (100, 200)


@pytest.mark.requirement("LM-TLS-05")
@pytest.mark.timing_sensitive(shared=True)
@pytest.mark.slow
def test_cost_of_tls(
    encryption: Encryption, testbed: Testbed, record_figures: RecordFigures
) -> None:
    """
    The report compares migrations without TLS, with TLS, and with TLS on four channels.

    Preconditions: 128 MiB of incompressible memory; five migrations of each kind, in turn.
    Expected: throughput, downtime, duration and CPU time of every migration are known. The report
    has the medians for each kind. For TLS on a single channel, the report also has the documented
    maximum throughput of 100 to 200 MB/s. The test compares no figure with a limit.
    """
    assert set(encryption.original_settings) == {host.name for host in testbed.hosts}
    guest = testbed.make_guest(FULL_GUEST)
    figures_by_kind: dict[str, list[Figures]] = {kind: [] for kind in PLANS}

    for round_number in range(ROUNDS):
        for kind in rotate_kinds(list(PLANS), round_number):
            figures_by_kind[kind].append(measure_migration(guest, testbed, PLANS[kind]))

    medians_by_kind = {kind: compute_medians(figures) for kind, figures in figures_by_kind.items()}
    single_channel_mb_s = medians_by_kind["TLS"]["throughput_mib_s"] * 2**20 / 10**6
    single_channel_text = (
        f"{single_channel_mb_s:.0f} MB/s ({testbed.inventory.tier}); "
        f"documented: {DOCUMENTED_LIMITS_MB_S[0]} to {DOCUMENTED_LIMITS_MB_S[1]} MB/s"
    )
    record_figures(
        "price of encryption",
        {**medians_by_kind, "single channel": single_channel_text},
    )
    allure.attach(render_csv(figures_by_kind), "cost of TLS.csv", allure.attachment_type.CSV)
    assert all(len(figures) == ROUNDS for figures in figures_by_kind.values())
    assert all(value > 0 for row in medians_by_kind.values() for value in row.values())


def measure_migration(guest: Guest, testbed: Testbed, plan: Plan) -> Figures:
    """Migrate the guest and return throughput, duration, downtime and CPU time.

    The CPU time is the time of QEMU without its vCPU threads, in s per GiB of sent memory. The
    CPU time at the destination includes the start of QEMU.
    """
    source = guest.host
    with qemu_threads.measure_cpu_time(
        source, stage_payload(testbed.provisioner, source), qemu_threads.find_qemu_pid(guest)
    ) as source_cpu:
        outcome = testbed.migrate(guest, plan)
    destination_cpu = qemu_threads.read_cpu_time(
        guest.host,
        stage_payload(testbed.provisioner, guest.host),
        qemu_threads.find_qemu_pid(guest),
    )
    figures = compute_metrics(outcome)
    sent_gib = (figures["memory_sent_mib"] or 0.0) / 1024
    return {
        "throughput_mib_s": figures["throughput_avg_mib_s"] or 0.0,
        "duration_ms": figures["total_time_ms"] or 0.0,
        "downtime_ms": figures["downtime_libvirt_ms"] or 0.0,
        "source_cpu_s_per_gib": source_cpu.non_vcpu_s / sent_gib if sent_gib else 0.0,
        "destination_cpu_s_per_gib": destination_cpu.non_vcpu_s / sent_gib if sent_gib else 0.0,
    }


def stage_payload(provisioner: Provisioner, host: Host) -> PurePosixPath:
    return provisioner.stage_files(host) / "payload"


def rotate_kinds(kinds: list[str], offset: int) -> list[str]:
    """Rotate the kinds of migration, for example plain and TLS, by the offset.

    Each round of the test measures one migration of each kind. With the round number as the
    offset, each round begins with another kind, so no kind is always measured first.
    """
    start = offset % len(kinds)
    return [*kinds[start:], *kinds[:start]]


def compute_medians(figures: list[Figures]) -> dict[str, float]:
    return {
        name: round(statistics.median(round_figures[name] for round_figures in figures), 1)
        for name in figures[0]
    }


def render_csv(figures_by_kind: Mapping[str, list[Figures]]) -> str:
    names = list(next(iter(figures_by_kind.values()))[0])
    rows = [
        ",".join([kind.replace(",", ""), *(f"{round_figures[name]:.1f}" for name in names)])
        for kind, figures in figures_by_kind.items()
        for round_figures in figures
    ]
    return "\n".join([",".join(["kind", *names]), *rows]) + "\n"
