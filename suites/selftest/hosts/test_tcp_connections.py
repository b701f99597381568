"""The connections of QEMU and the kernel's byte counts, from the output of ss."""

import pytest

from migqual.hosts.tcp_connections import TcpConnection, parse_connections

pytestmark = pytest.mark.selftest

LISTING = """\
ESTAB 0 0 10.77.2.12:49152 10.77.2.11:40112 users:(("qemu-system-x86",pid=77,fd=31)) cubic \
bytes_sent:5 bytes_acked:5 bytes_received:1000 segs_out:3
ESTAB 0 0 [fd77::2]:49153 [fd77::1]:40114 users:(("qemu-system-x86",pid=77,fd=32)) cubic \
bytes_received:200
ESTAB 0 0 [::ffff:10.77.2.12]:49154 [::ffff:10.77.2.11]:40116 \
users:(("qemu-system-x86",pid=77,fd=33)) cubic
TIME-WAIT 0 0 10.77.2.12:49157 10.77.2.11:40122 users:(("qemu-system-x86",pid=77,fd=34)) cubic
ESTAB 0 0 10.77.2.12:22 10.77.2.11:51000 users:(("sshd",pid=78,fd=4)) cubic bytes_received:900000
ESTAB 0 0 10.77.2.12:49155 10.77.2.11:40118 users:(("qemu-system-x86",pid=777,fd=4)) cubic \
bytes_received:4000000
"""


def test_established_connections_of_the_process_are_listed() -> None:
    """
    Only the established connections of the process are listed, with IPv4 and IPv6 addresses.

    Preconditions: three established connections of the process, one of them without received
    bytes; a closed connection of the process; connections of other processes.
    """
    assert parse_connections(LISTING, {77}) == (
        TcpConnection("10.77.2.12", 49152, "10.77.2.11", 40112, 1000),
        TcpConnection("fd77::2", 49153, "fd77::1", 40114, 200),
        TcpConnection("10.77.2.12", 49154, "10.77.2.11", 40116, 0),
    )
    assert parse_connections(LISTING, set()) == ()
