"""The gap meter on a client, for guests with IPv4 and IPv6 addresses."""

from pathlib import Path, PurePosixPath

import pytest

from migqual.hosts.host import Host
from migqual.observe.gap_meter import run_gap_meter

pytestmark = pytest.mark.selftest
FORMER_MAC = "02:00:00:00:00:99"


def test_gap_meter_forgets_the_mac_of_an_earlier_guest(
    linked_hosts: tuple[Host, Host], program: Path
) -> None:
    """
    The gap meter removes the MAC of an earlier guest from the neighbor table of the client.

    Preconditions: the neighbor table has the MAC of an earlier guest for the guest's address.
    Expected: the guest replies less than 3 s after the first probe. With the old entry, the client
    would send probes to the earlier guest for 5 s (`delay_first_probe_time`).
    """
    client, guest = linked_hosts
    address = guest.entry.address
    client.shell.run(
        *("ip", "neigh", "replace", address, "lladdr", FORMER_MAC),
        *("dev", "client", "nud", "stale"),
    )

    with run_gap_meter(client, PurePosixPath(program), address) as meter:
        meter.wait_for_reply(0)
        first_sent_ns = meter.trace.interval_changes[0].at_ns
        first_reply_ns = meter.trace.replies_ns[0]

    assert first_reply_ns - first_sent_ns < 3_000_000_000
