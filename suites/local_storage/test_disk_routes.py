"""LM-LOC-02: the port and the address for the copy of disks."""

import random
from dataclasses import replace
from enum import StrEnum

import pytest

from fixtures.plugins.guests import RecordFigures
from migqual.errors import MigrationRefused
from migqual.inventory.entities import format_uri_host
from migqual.migration.job_sampler import OnSample
from migqual.model.guest_spec import GuestSpec
from migqual.model.outcome import JobSample
from migqual.model.plan import Control, Plan
from migqual.testbed.host_pair import HostPair
from migqual.testbed.testbed import Testbed
from suites.support.disks import COPY_PLAN, LOCAL_DISK, fill_disk

MIGRATION_PORTS = range(49184, 49216)  # upper half of the ports that hosts open for migrations


class DiskRouteOption(StrEnum):
    """The option of a plan that sets the address to which the source sends the copied disks.

    Attributes:
        PORT: Sets only the port at the destination (`disks_port`).
        URI: Sets address and port (`disks_uri`), for example `tcp://10.0.0.2:49200`.
    """

    PORT = "port"
    URI = "uri"


@pytest.mark.requirement("LM-LOC-02")
@pytest.mark.slow
@pytest.mark.parametrize("route_option", list(DiskRouteOption), ids=str)
def test_disks_port_and_disks_uri(
    route_option: DiskRouteOption, testbed: Testbed, record_figures: RecordFigures
) -> None:
    """
    The copy of a disk uses the port or the URI given in the plan.

    Preconditions: a free port at the destination. Some versions of libvirt keep a port reserved
    after a migration, until libvirt restarts. If libvirt refuses a reserved port, the test tries
    another port. Because of the bandwidth limit, the copy takes several seconds.
    Expected: the port is in use at the destination while the disk is copied. The report lists the
    refused ports.
    """
    guest = testbed.make_guest(GuestSpec(disks=(LOCAL_DISK,)))
    fill_disk(guest, "vda", offset_mib=24, size_mib=24)
    used_ports: list[int] = []

    def build_port_recorder(port: int) -> OnSample:
        def record_used_port(_sample: JobSample) -> None:
            if port not in used_ports and is_port_in_use(testbed.pair, port):
                used_ports.append(port)

        return record_used_port

    reserved_ports = []
    for port in random.sample(MIGRATION_PORTS, len(MIGRATION_PORTS)):
        try:
            testbed.migrate(
                guest,
                build_disk_route_plan(route_option, testbed.pair, port),
                on_sample=build_port_recorder(port),
            )
        except MigrationRefused as error:
            if "reserve port" not in error.message:
                raise
            reserved_ports.append(port)
        else:
            break
    if reserved_ports:
        record_figures(
            "ports still reserved by libvirt",
            {"ports": reserved_ports},
        )

    assert guest.host is testbed.destination, f"libvirt has no free port in {MIGRATION_PORTS}"
    assert used_ports == [port]


def build_disk_route_plan(route_option: DiskRouteOption, pair: HostPair, port: int) -> Plan:
    """Build a plan that sets the port, or the whole URI, to which copied disks are sent.

    The controller drives the migration. A source that drives the migration may lose the error
    message of the destination.
    """
    plan = replace(COPY_PLAN, bandwidth_mib_s=48, control=Control.DIRECT)
    if route_option is DiskRouteOption.PORT:
        return replace(plan, disks_port=port)
    address = format_uri_host(pair.destination.entry.migration_endpoint)
    return replace(plan, disks_uri=f"tcp://{address}:{port}")


def is_port_in_use(pair: HostPair, port: int) -> bool:
    """Return whether the port of the destination has an established connection."""
    socket_table = pair.destination.shell.run("cat", "/proc/net/tcp", "/proc/net/tcp6").stdout
    return any(
        columns[1].endswith(f":{port:04X}") and columns[3] == "01"
        for columns in (line.split() for line in socket_table.splitlines())
        if len(columns) > 3
    )
