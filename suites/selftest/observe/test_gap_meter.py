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
    A guest gets the probes, although the client knows another MAC for the address.

    Preconditions: the neighbor table of the client has the MAC of an earlier guest.
    Expected: the first reply answers one of the first probes, sent before the client would
    verify an old entry (`delay_first_probe_time`, 5 s).
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
