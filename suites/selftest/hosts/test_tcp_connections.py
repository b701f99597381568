"""The kernel's byte counts of QEMU's connections, from the output of ss."""

import pytest

from migqual.hosts.tcp_connections import sum_received_bytes

pytestmark = pytest.mark.selftest

LISTING = """\
ESTAB 0 0 10.77.2.12:49152 10.77.2.11:40112 users:(("qemu-system-x86",pid=77,fd=31)) cubic \
bytes_sent:5 bytes_acked:5 bytes_received:1000 segs_out:3
ESTAB 0 0 [fd77::2]:49153 [fd77::1]:40114 users:(("qemu-system-x86",pid=77,fd=32)) cubic \
bytes_received:200
ESTAB 0 0 [::ffff:10.77.2.12]:49154 [::ffff:10.77.2.11]:40116 \
users:(("qemu-system-x86",pid=77,fd=33)) cubic bytes_received:30
ESTAB 0 0 10.77.2.12:36000 10.77.2.20:10809 users:(("qemu-system-x86",pid=77,fd=34)) cubic \
bytes_received:70000
ESTAB 0 0 10.77.2.12:22 10.77.2.11:51000 users:(("sshd",pid=78,fd=4)) cubic bytes_received:900000
ESTAB 0 0 10.77.2.12:49155 10.77.2.11:40118 users:(("qemu-system-x86",pid=777,fd=4)) cubic \
bytes_received:4000000
ESTAB 0 0 10.77.2.12:49156 10.77.2.11:40120 users:(("qemu-system-x86",pid=77,fd=35)) cubic
"""


def test_only_connections_of_the_process_with_the_peer_count() -> None:
    """
    Only the connections between one QEMU process and the peer count, of both address families.

    Preconditions: three such connections, one without a received byte, one to a storage server,
    and connections of other processes.
    """
    addresses = ("10.77.2.11", "fd77::1")

    assert sum_received_bytes(LISTING, {77}, addresses) == 1230
    assert sum_received_bytes(LISTING, {77}, ("10.77.2.20",)) == 70000
    assert sum_received_bytes(LISTING, set(), addresses) == 0
