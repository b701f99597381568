"""LM-TLS-03, LM-TLS-04: single and multiple encrypted channels hide the guest's data."""

from dataclasses import replace

import pytest

from fixtures.plugins.encryption import CaptureGuestTraffic, Encryption
from migqual.inventory.stores import StoreKind
from migqual.model.guest_spec import DiskSpec, GuestSpec
from migqual.model.plan import Control, Plan, StorageCopy
from migqual.testbed.testbed import Testbed

COPIED_DISKS = {"memory": (), "memory-and-disk": (DiskSpec(StoreKind.LOCAL),)}


@pytest.mark.parametrize(
    "channels",
    [
        pytest.param(0, marks=pytest.mark.requirement("LM-TLS-03"), id="one-channel"),
        *(
            pytest.param(
                count,
                marks=[pytest.mark.requirement("LM-TLS-04"), *([pytest.mark.slow] * (count > 2))],
                id=f"{count}-channels",
            )
            for count in (2, 4, 8)
        ),
    ],
)
@pytest.mark.parametrize(
    "content", ["memory", pytest.param("memory-and-disk", marks=pytest.mark.slow)]
)
def test_tls_hides_guest_data_on_link(
    channels: int,
    content: str,
    encryption: Encryption,  # noqa: ARG001 - both hosts hold certificates
    testbed: Testbed,
    capture_guest_traffic: CaptureGuestTraffic,
) -> None:
    """
    Encrypted channels carry a guest and the guest's disk, and hide the data of both on the
    link.

    Preconditions: both hosts hold certificates of the same authority and verify the peer; a
    capture records the traffic on the link.
    Expected: without TLS the capture contains known pages and blocks of the guest. With TLS the
    capture contains none of these pages and blocks, and every channel uses TLS. Both migrations
    use the same number of channels. This number is not smaller than the requested number.
    """
    spec = GuestSpec(disks=COPIED_DISKS[content])
    storage_copy = StorageCopy.ALL if spec.disks else StorageCopy.NONE
    plan = Plan(channels=channels, copy_storage=storage_copy, control=Control.DIRECT)
    guest = testbed.make_guest(spec)

    with capture_guest_traffic(guest) as plain_capture:
        testbed.migrate(guest, plan)
    # A copied disk leaves the old image at the source, and the old image blocks a copy back.
    tls_guest = testbed.make_guest(spec) if spec.disks else guest
    # Without `tls_destination`, libvirt 9.0 passes no host name to QEMU for disks if the
    # migration has several channels.
    tls_destination = testbed.destination.entry.migration_endpoint if spec.disks else None
    with capture_guest_traffic(tls_guest) as tls_capture:
        testbed.migrate(tls_guest, replace(plan, tls=True, tls_destination=tls_destination))

    assert all(plain_capture.marker_counts.values()), (
        f"the capture missed guest data without TLS: {plain_capture.marker_counts}"
    )
    assert not any(channel.tls for channel in plain_capture.guest_connections)
    assert not any(tls_capture.marker_counts.values()), (
        f"guest data is readable despite TLS: {tls_capture.marker_counts}"
    )
    assert all(channel.tls for channel in tls_capture.guest_connections)
    assert len(tls_capture.guest_connections) == len(plain_capture.guest_connections)
    assert len(tls_capture.guest_connections) >= max(1, channels)
