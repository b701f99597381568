"""LM-TLS-05: what encryption costs, side by side."""

import statistics
from collections.abc import Callable, Mapping
from pathlib import PurePosixPath

import allure
import pytest

from fixtures.plugins.encryption import Encryption
from fixtures.plugins.guests import MakeGuest
from fixtures.plugins.hosts import Pair
from fixtures.plugins.records import add_environment
from migqual.hosts import threads
from migqual.hosts.guest import Guest
from migqual.hosts.host import Host
from migqual.hosts.provision import Provisioner
from migqual.model.guest import GuestSpec, Load, MemoryLoad
from migqual.model.inventory import Inventory
from migqual.model.metrics import metrics
from migqual.model.outcome import Outcome
from migqual.model.plan import Plan

Migrate = Callable[..., Outcome]
Figures = Mapping[str, float]

ROUNDS = 5
FULL = GuestSpec(load=Load("full", memory=MemoryLoad(mib=128)))
WAYS: Mapping[str, Plan] = {
    "plain": Plan(),
    "TLS": Plan(tls=True),
    "TLS, 4 channels": Plan(tls=True, channels=4),
}
# what the documentation gives as the ceiling of one encrypted channel
CEILING_MB_S = (100, 200)


@pytest.mark.requirement("LM-TLS-05")
@pytest.mark.quiet(together=True)
@pytest.mark.long
def test_price_of_encryption(
    encryption: Encryption,
    make_guest: MakeGuest,
    migrate: Migrate,
    pair: Pair,
    provision: Provisioner,
    inventory: Inventory,
    pytestconfig: pytest.Config,
) -> None:
    """
    Throughput, downtime, duration and CPU time of plain, TLS and multi-channel TLS stand together.

    Preconditions: 128 MiB of incompressible memory; five migrations of each kind, in turn.
    Expected: a figure of each kind in every migration; their medians are reported, the throughput
    of the single channel beside the documented 100 to 200 MB/s. A lab's figures judge no host.
    """
    assert set(encryption.settings) == {host.name for host in pair.hosts}
    guest = make_guest(FULL)
    found: dict[str, list[Figures]] = {way: [] for way in WAYS}

    for number in range(ROUNDS):
        for way in rotated(list(WAYS), number):
            found[way].append(measured(guest, migrate, provision, WAYS[way]))

    table = {way: medians(figures) for way, figures in found.items()}
    single = table["TLS"]["throughput_mib_s"] * 2**20 / 10**6
    told = (
        f"{single:.0f} MB/s ({inventory.tier}); documented: {CEILING_MB_S[0]} to {CEILING_MB_S[1]}"
    )
    add_environment(
        pytestconfig, f"price of encryption {pair.id}", {**table, "single channel": told}
    )
    allure.attach(csv(found), "price of encryption.csv", allure.attachment_type.CSV)
    assert all(len(figures) == ROUNDS for figures in found.values())
    assert all(value > 0 for row in table.values() for value in row.values())


def measured(guest: Guest, migrate: Migrate, provision: Provisioner, plan: Plan) -> Figures:
    """One migration: throughput, duration, downtime, and the CPU time of QEMU beside its vCPUs;
    the destination's includes its start."""
    source = guest.host
    with threads.accounted(source, payload(provision, source), threads.running(guest)) as sending:
        outcome = migrate(guest, plan)
    receiving = threads.used(guest.host, payload(provision, guest.host), threads.running(guest))
    figures = metrics(outcome)
    gib = (figures["memory_sent_mib"] or 0.0) / 1024
    return {
        "throughput_mib_s": figures["throughput_avg_mib_s"] or 0.0,
        "duration_ms": figures["total_time_ms"] or 0.0,
        "downtime_ms": figures["downtime_libvirt_ms"] or 0.0,
        "source_cpu_s_per_gib": sending.besides_vcpus_s / gib if gib else 0.0,
        "destination_cpu_s_per_gib": receiving.besides_vcpus_s / gib if gib else 0.0,
    }


def payload(provision: Provisioner, host: Host) -> PurePosixPath:
    return provision.stage(host) / "payload"


def rotated(ways: list[str], by: int) -> list[str]:
    """Each round begins with another kind, so that none has always the same place."""
    at = by % len(ways)
    return [*ways[at:], *ways[:at]]


def medians(figures: list[Figures]) -> dict[str, float]:
    return {name: round(statistics.median(one[name] for one in figures), 1) for name in figures[0]}


def csv(found: Mapping[str, list[Figures]]) -> str:
    names = list(next(iter(found.values()))[0])
    rows = [
        ",".join([way.replace(",", ""), *(f"{one[name]:.1f}" for name in names)])
        for way, figures in found.items()
        for one in figures
    ]
    return "\n".join([",".join(["kind", *names]), *rows]) + "\n"
