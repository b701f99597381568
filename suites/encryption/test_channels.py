"""LM-TLS-03, LM-TLS-04: encrypted channels, one or several, show nothing of the guest."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from fixtures.plugins.encryption import Encryption, ListenTo
from fixtures.plugins.guests import MakeGuest
from fixtures.plugins.hosts import Pair
from migqual.model.guest import DiskSpec, GuestSpec
from migqual.model.inventory import StoreKind
from migqual.model.outcome import Outcome
from migqual.model.plan import Control, Plan, StorageCopy

Migrate = Callable[..., Outcome]

COPIED = {"memory": (), "memory-and-disk": (DiskSpec(StoreKind.LOCAL),)}


@pytest.mark.parametrize(
    "channels",
    [
        pytest.param(0, marks=pytest.mark.requirement("LM-TLS-03"), id="one-channel"),
        *(
            pytest.param(
                count,
                marks=[pytest.mark.requirement("LM-TLS-04"), *([pytest.mark.long] * (count > 2))],
                id=f"{count}-channels",
            )
            for count in (2, 4, 8)
        ),
    ],
)
@pytest.mark.parametrize(
    "copied", ["memory", pytest.param("memory-and-disk", marks=pytest.mark.long)]
)
def test_link_shows_nothing_of_the_guest(
    channels: int,
    copied: str,
    encryption: Encryption,  # noqa: ARG001 - both hosts hold certificates
    make_guest: MakeGuest,
    migrate: Migrate,
    listen_to: ListenTo,
    pair: Pair,
) -> None:
    """
    Encrypted channels carry a guest, and its disk, and show nothing of either on the link.

    Preconditions: both hosts hold certificates of one authority and verify their peer; somebody
    listens on the link.
    Expected: without TLS pages and blocks of the guest are seen, with TLS none, on any channel;
    as many channels carry the guest as were asked for, and every one of them speaks TLS.
    """
    spec = GuestSpec(disks=COPIED[copied])
    copy = StorageCopy.ALL if spec.disks else StorageCopy.NONE
    plan = Plan(channels=channels, copy_storage=copy, control=Control.DIRECT)
    guest = make_guest(spec)

    with listen_to(guest) as plain:
        migrate(guest, plan)
    # a disk that was copied has left its image behind, which is in the way back
    other = make_guest(spec) if spec.disks else guest
    # without it libvirt 9.0 tells QEMU no name for disks beside several channels
    name = pair.destination.entry.migration_address if spec.disks else None
    with listen_to(other) as encrypted:
        migrate(other, replace(plan, tls=True, tls_destination=name))

    assert all(plain.hits.values()), f"the capture is blind: {plain.hits}"
    assert not any(channel.tls for channel in plain.carrying)
    assert not any(encrypted.hits.values()), f"seen in spite of TLS: {encrypted.hits}"
    assert all(channel.tls for channel in encrypted.carrying)
    assert len(encrypted.carrying) == len(plain.carrying)
    assert len(encrypted.carrying) >= max(1, channels)
