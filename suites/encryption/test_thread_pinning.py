"""LM-TLS-06: migration threads do not run on the CPUs of the guest."""

from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from fixtures.plugins.encryption import Encryption
from fixtures.plugins.guests import RecordFigures
from migqual.deadline import Deadline
from migqual.errors import InconclusiveError, UnsupportedError
from migqual.hosts import qemu_threads
from migqual.hosts.guest import Guest
from migqual.hosts.host import Host
from migqual.hosts.qemu_threads import QemuThread
from migqual.model.guest_spec import GuestLoad, GuestSpec, MemoryLoad
from migqual.model.plan import Plan
from migqual.testbed.testbed import Testbed

CHANNELS = 2
BASELINE_MS = 3000
BUSY_GUEST = GuestSpec(load=GuestLoad("busy", memory=MemoryLoad(size_mib=128)))
# Slow enough to find the threads and to measure the slowdown of the guest.
TLS_PLAN = Plan(tls=True, channels=CHANNELS, bandwidth_mib_s=32)


@dataclass
class ThreadPinner:
    """A callback to pin vCPU threads and migration threads to separate CPUs.

    Each thread is pinned once, at the first job sample at which the thread exists. At each later
    job sample, the callback checks the CPU affinity of the thread.

    Attributes:
        host: The host of the QEMU process.
        pid: The id of the QEMU process.
        vcpu_cpus: CPUs for the vCPU threads.
        migration_cpus: CPUs for the migration threads.
        pinned_tids: Ids of all pinned threads.
        confirmed_threads: Threads whose CPU affinity was correct at a check, by thread id.
        misplaced_threads: Threads whose CPU affinity was wrong at a check.
    """

    host: Host
    pid: int
    vcpu_cpus: frozenset[int]
    migration_cpus: frozenset[int]
    pinned_tids: set[int] = field(default_factory=set)
    confirmed_threads: dict[int, QemuThread] = field(default_factory=dict)
    misplaced_threads: list[QemuThread] = field(default_factory=list)

    def on_sample(self, _sample: object) -> None:
        """Pin new vCPU and migration threads of QEMU; check the CPU affinity of pinned threads.

        The method returns None, so the migration continues.
        """
        for thread in qemu_threads.list_threads(self.host, self.pid):
            if not thread.is_vcpu and not thread.is_migration:
                continue
            expected_cpus = self.vcpu_cpus if thread.is_vcpu else self.migration_cpus
            if thread.tid not in self.pinned_tids:
                qemu_threads.pin_threads(self.host, [thread], expected_cpus)
                self.pinned_tids.add(thread.tid)
            elif thread.cpus == expected_cpus:
                self.confirmed_threads[thread.tid] = thread
            else:
                self.misplaced_threads.append(thread)

    def list_migration_threads(self) -> list[str]:
        """Return the names of QEMU's migration threads that are pinned to `migration_cpus`.

        A thread is in the list only if a check after the pinning found the correct CPU affinity.
        """
        return sorted(
            thread.name for thread in self.confirmed_threads.values() if thread.is_migration
        )


@pytest.mark.requirement("LM-TLS-06")
@pytest.mark.slow
def test_migration_threads_are_pinned(
    encryption: Encryption, testbed: Testbed, record_figures: RecordFigures
) -> None:
    """
    The threads of an encrypted migration can run on another CPU than the guest's vCPU.

    Preconditions: two host CPUs are available for the guest; two encrypted channels; a busy guest.
    The test pins the vCPU thread to one CPU, and the migration threads to the other CPU.
    Expected: during the migration, the main migration thread, a thread for each channel, and the
    vCPU thread have the CPU affinity that the test set. The report has the guest's slowdown with
    and without pinning.
    """
    assert set(encryption.original_settings) == {host.name for host in testbed.hosts}
    guest = testbed.make_guest(BUSY_GUEST)
    vcpu_cpus, migration_cpus = choose_two_cpus(guest)
    guest.run_payload_command("work", "start", "threads=1")

    baseline_rate = measure_work_rate(guest)
    unpinned_rate = measure_work_rate(guest, lambda: testbed.migrate(guest, TLS_PLAN))
    testbed.migrate(guest, Plan())  # back, so that both measured migrations have the same source
    pinner = ThreadPinner(guest.host, qemu_threads.find_qemu_pid(guest), vcpu_cpus, migration_cpus)
    pinned_rate = measure_work_rate(
        guest, lambda: testbed.migrate(guest, TLS_PLAN, on_sample=pinner.on_sample)
    )

    assert pinner.misplaced_threads == []
    if len(pinner.list_migration_threads()) <= CHANNELS or not any(
        thread.is_vcpu for thread in pinner.confirmed_threads.values()
    ):
        raise InconclusiveError(
            "the migration ended before the test checked the CPU affinity of all vCPU threads and "
            f"migration threads. Run the test again. State of the pinning: {pinner}"
        )
    slowdown = {
        "unpinned_percent": round(100 * (1 - unpinned_rate / baseline_rate), 1),
        "pinned_percent": round(100 * (1 - pinned_rate / baseline_rate), 1),
        "threads": pinner.list_migration_threads(),
    }
    record_figures("vCPU slowdown", slowdown)


def choose_two_cpus(guest: Guest) -> tuple[frozenset[int], frozenset[int]]:
    """Choose two of the host CPUs on which the guest's vCPU may run.

    Returns:
        The CPU for the vCPU, and the CPU for the migration threads.

    Raises:
        UnsupportedError: The vCPU may run only on a single host CPU.
    """
    vcpu_threads = [
        thread
        for thread in qemu_threads.list_threads(guest.host, qemu_threads.find_qemu_pid(guest))
        if thread.is_vcpu
    ]
    allowed_cpus = sorted(vcpu_threads[0].cpus)
    if len(allowed_cpus) < 2:
        raise UnsupportedError(
            f"{guest.host.name}: the guest's vCPU may run only on host CPU {allowed_cpus}; "
            "the test needs two host CPUs"
        )
    return frozenset(allowed_cpus[:1]), frozenset(allowed_cpus[1:2])


def measure_work_rate(guest: Guest, action: Callable[[], object] | None = None) -> float:
    """Measure how many iterations of a busy loop the guest completes per second.

    The guest's clock measures the seconds.

    Args:
        action: Function to call. The measurement lasts until the function returns. If `action`
            is None, the measurement lasts 3 s.
    """
    status_before = guest.run_payload_command("work", "status")
    if action is None:
        target_ms = status_before["elapsed_ms"] + BASELINE_MS
        Deadline(60).wait_for(
            f"the work load of {guest.name} to run",
            lambda: guest.run_payload_command("work", "status")["elapsed_ms"] > target_ms,
            interval_s=0.5,
        )
    else:
        action()
    status_after = guest.run_payload_command("work", "status")
    seconds = float(status_after["elapsed_ms"] - status_before["elapsed_ms"]) / 1000
    return int(status_after["iterations"] - status_before["iterations"]) / seconds
