"""Find split brain: two copies of a guest that run at the same time."""

import re
from pathlib import PurePosixPath

from migqual.hosts.domain import DomainState
from migqual.hosts.guest import Guest
from migqual.hosts.host import Host

RUNNING_STATES = {DomainState.RUNNING, DomainState.BLOCKED}
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
        hosts: All hosts on which the guest or a second QEMU process of the guest may run.
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


def extract_last_messages(log: str) -> str:
    """Return the last messages (at most 3) of QEMU and libvirt in QEMU's log, in one line."""
    messages = [
        line
        for line in log.splitlines()
        if LOG_MESSAGE_PATTERN.match(line) and "is tainted:" not in line
    ]
    return " | ".join(messages[-MAX_LOG_MESSAGES:])
