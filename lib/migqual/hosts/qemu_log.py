"""Read the log of a guest's QEMU, which libvirt keeps on each host where the guest ran."""

import re
from datetime import datetime
from pathlib import PurePosixPath

from migqual.hosts.host import Host

QEMU_LOG_FOLDER = PurePosixPath("/var/log/libvirt/qemu")
_START_MARK = ": starting up libvirt version"
_START_TIME = re.compile(rf"^(\S+ \S+){_START_MARK}", re.MULTILINE)
# For example "2026-11-28 17:29:52.735+0000: shutting down"; QEMU uses another format of the time.
_LIBVIRT_LINE = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d+\+\d{4}: ")
_QEMU_PREFIX = re.compile(r"^(\d{4}-\d\d-\d\dT\S+ )?(\S*qemu[\w./-]*: )?")
_END_MESSAGE = "terminating on signal"


def read_qemu_log(host: Host, guest_name: str) -> str:
    """Read the log of a guest's QEMU on a host. Without a log, the text is empty."""
    return host.shell.run_unchecked("cat", QEMU_LOG_FOLDER / f"{guest_name}.log").stdout


def read_recent_messages(host: Host, guest_name: str, max_age_s: float) -> list[str]:
    """Read the messages of a QEMU that started at most `max_age_s` seconds ago.

    The clock of the host decides, so the clock of the controller may differ. If QEMU did not start
    in this time, the list is empty.
    """
    path = QEMU_LOG_FOLDER / f"{guest_name}.log"
    output = host.shell.run_unchecked("sh", "-c", 'date +%s; cat -- "$1"', "sh", path).stdout
    now_text, _, log = output.partition("\n")
    started_s = find_latest_start_s(log)
    if started_s is None or float(now_text) - started_s > max_age_s:
        return []
    return list_latest_messages(log)


def find_latest_start_s(log: str) -> float | None:
    """Find the time of the latest start of QEMU, in seconds since 1970; None without a start."""
    times = _START_TIME.findall(log)
    return datetime.fromisoformat(times[-1]).timestamp() if times else None


def list_latest_messages(log: str) -> list[str]:
    """List the messages of QEMU since the latest start, without times and program names.

    Neither the command line of QEMU nor the lines of libvirt are messages.
    """
    lines = iter(log.rpartition(_START_MARK)[2].splitlines()[1:])
    if _START_MARK in log:
        for line in lines:
            if not line.endswith("\\"):
                break  # the last line of the command
    messages = (
        _QEMU_PREFIX.sub("", line, count=1) for line in lines if not _LIBVIRT_LINE.match(line)
    )
    return [message for message in messages if message and not message.startswith(_END_MESSAGE)]
