"""Find split brain: two copies of a guest that run at the same time."""

import re
from contextlib import suppress
from math import inf
from pathlib import PurePosixPath

from migqual.deadline import Deadline
from migqual.errors import HostError, InconclusiveError, TimedOut
from migqual.hosts.domain import DomainState
from migqual.hosts.guest import Guest
from migqual.hosts.host import Host
from migqual.model.outcome import MigrationStatus, Outcome
from migqual.model.plan import Arrival

RUNNING_STATES = {DomainState.RUNNING, DomainState.BLOCKED}
COPY_CLEANUP_SECONDS = 10.0
MAX_CLOCK_ERROR_US = 10_000  # a shorter overlap would not be found
MAX_LOG_MESSAGES = 3  # lines of QEMU's log
LOG_MESSAGE_PATTERN = re.compile(r"\d{4}-\d\d-\d\d|qemu")  # excludes QEMU's command line


def find_split_brain_violations(
    guest: Guest, hosts: tuple[Host, ...], *, is_still_migrating: bool = False
) -> list[str]:
    """Find violations of the rule: the guest runs on `guest.host` and on no other host.

    A QEMU process of the guest on another host is also a violation: the process could write to
    the disks.

    Args:
        guest: The guest to check.
        hosts: The hosts to check, for example the source and the destination.
        is_still_migrating: Whether the migration still runs. Then a QEMU process of the guest on
            another host is no violation.

    Returns:
        A message for each violation. When the guest does not run, the message contains the last
        lines of QEMU's log.
    """
    states = guest.query_states_by_host(hosts)
    violations = []
    if states.get(guest.host.name) not in RUNNING_STATES:
        state = states.get(guest.host.name, DomainState.GONE)
        message = f"{guest.name} does not run on {guest.host.name}: its state is {state}"
        log_path = PurePosixPath(guest.console_log).with_suffix(".log")
        last_messages = extract_last_messages(
            guest.host.shell.run_unchecked("tail", "-n", "20", log_path).stdout
        )
        violations.append(
            f"{message}; QEMU's log ends with: {last_messages}" if last_messages else message
        )
    for host in hosts:
        if host.name == guest.host.name:
            continue
        if states.get(host.name) in RUNNING_STATES:
            violations.append(
                f"split brain: {guest.name} runs on {host.name}, but should run only on "
                f"{guest.host.name}"
            )
        if not is_still_migrating and (pids := host.list_qemu_pids(guest.name)):
            violations.append(f"{host.name} still has QEMU processes of {guest.name}: pids {pids}")
    return violations


def describe_overlap(outcome: Outcome) -> list[str]:
    """Describe the time in which the guest ran on both hosts, or return an empty list."""
    overlap_ms = outcome.run_overlap_ms
    if not overlap_ms:
        return []
    hosts = f"{outcome.source} and {outcome.destination}"
    length = "until the end" if overlap_ms == inf else f"for {overlap_ms:.1f} ms"
    return [f"split brain: {outcome.guest} ran on {hosts} at the same time {length}"]


def find_overlap_violations(outcome: Outcome) -> list[str]:
    """Find a time in which the guest ran on both hosts, by QEMU's events STOP and RESUME.

    Raises:
        InconclusiveError: The guest arrived and runs, but the events or the clocks of the hosts do
            not show whether the guest ran on both hosts.
    """
    if violations := describe_overlap(outcome):
        return violations
    if (
        outcome.status is not MigrationStatus.COMPLETED
        or outcome.plan.arrival is not Arrival.RUNNING
    ):
        return []
    if outcome.pause_ms is None:
        raise InconclusiveError(
            f"QEMU reported no STOP of {outcome.guest} on {outcome.source}, or no RESUME on "
            f"{outcome.destination}, so the guest may have run on both hosts"
        )
    if outcome.clock_difference.error_us > MAX_CLOCK_ERROR_US:
        raise InconclusiveError(
            f"the clocks of {outcome.source} and {outcome.destination} cannot be compared exactly "
            f"enough: the possible error is {outcome.clock_difference.error_us / 1000:.1f} ms, and "
            f"the limit is {MAX_CLOCK_ERROR_US / 1000:g} ms",
            remedy="synchronize both hosts with the same time server, and let no program set a "
            "clock during a migration",
        )
    return []


def wait_for_removal_of_copies(guest: Guest, hosts: tuple[Host, ...]) -> None:
    """Wait until libvirt has removed the incomplete copies of the guest, at most 10 s.

    After a fault, libvirt needs some time to remove an incomplete copy. The wait ends at once if
    the guest runs on another host, or if a host does not answer. The function raises no error,
    because a later check reports the problem.

    Args:
        guest: The guest.
        hosts: The hosts to check, for example the source and the destination.
    """
    others = tuple(host for host in hosts if host is not guest.host)

    def has_no_idle_copy() -> bool:
        states = guest.query_states_by_host(others)
        is_running_twice = bool(RUNNING_STATES & set(states.values()))
        return is_running_twice or not any(host.list_qemu_pids(guest.name) for host in others)

    with suppress(HostError, TimedOut):
        Deadline(COPY_CLEANUP_SECONDS).wait_for(
            f"the removal of incomplete copies of {guest.name}", has_no_idle_copy
        )


def extract_last_messages(log: str) -> str:
    """Return the last messages (at most 3) of QEMU and libvirt in QEMU's log, in one line."""
    messages = [
        line
        for line in log.splitlines()
        if LOG_MESSAGE_PATTERN.match(line) and "is tainted:" not in line
    ]
    return " | ".join(messages[-MAX_LOG_MESSAGES:])
