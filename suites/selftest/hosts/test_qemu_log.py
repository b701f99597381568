"""The messages of QEMU are found in the log that libvirt keeps."""

from datetime import UTC, datetime

import pytest

from migqual.hosts.qemu_log import find_latest_start_s, list_latest_messages

pytestmark = pytest.mark.selftest

LOG = """\
2026-11-28 17:29:12.735+0000: starting up libvirt version: 9.0.0, package: 9.0.0-4, qemu version: 7.2.22
LC_ALL=C \\
/usr/bin/qemu-system-x86_64 \\
-msg timestamp=on
2026-11-28T17:29:13.028996Z qemu-system-x86_64: an older message
2026-11-28 17:29:52.735+0000: starting up libvirt version: 9.0.0, package: 9.0.0-4, qemu version: 7.2.22
LC_ALL=C \\
/usr/bin/qemu-system-x86_64 \\
-msg timestamp=on
2026-11-28 17:29:52.735+0000: Domain id=56 is tainted: custom-argv
postcopy_ram_supported_by_host: userfaultfd not available: Operation not permitted
2026-11-28T17:29:53.000996Z qemu-system-x86_64: load of migration failed: Invalid argument
2026-11-28 17:29:53.028+0000: shutting down, reason=failed
2026-11-28T17:29:53.028996Z qemu-system-x86_64: terminating on signal 15 from pid 376 (/usr/sbin/libvirtd)
"""  # noqa: E501 - lines of a real log


def test_messages_since_the_latest_start() -> None:
    """Only messages of QEMU since its latest start are listed, without time and program name."""
    assert list_latest_messages(LOG) == [
        "postcopy_ram_supported_by_host: userfaultfd not available: Operation not permitted",
        "load of migration failed: Invalid argument",
    ]


def test_time_of_the_latest_start() -> None:
    """libvirt's log of a guest has the time of each start of QEMU; the latest is read as UTC."""
    expected = datetime(2026, 11, 28, 17, 29, 52, 735000, tzinfo=UTC).timestamp()

    assert find_latest_start_s(LOG) == expected


def test_log_without_messages() -> None:
    assert find_latest_start_s("") is None
    assert list_latest_messages("") == []
    assert list_latest_messages("\n".join(LOG.splitlines()[:4])) == []
