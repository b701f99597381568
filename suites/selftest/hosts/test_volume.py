"""Tests of the removal of journal entries.

The entry of a removed resource is closed. The entry of a resource that cannot be removed stays
open, and the other resources are removed nevertheless.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from migqual.errors import ConnectionLost, HostError, StackError
from migqual.hosts import volume
from migqual.hosts.domain import Domain, DomainState
from migqual.hosts.host import Host
from migqual.hosts.journal import Journal
from migqual.hosts.volume import VolumeProvisioner
from migqual.inventory.entities import Inventory, Tier

pytestmark = pytest.mark.selftest

LOCK_MESSAGE = "cannot acquire state change lock"


class UnremovableDomain:
    """A fake domain with a failing destroy, or with a destroy without effect."""

    def __init__(self, *, message: str = "") -> None:
        self.message = message

    def destroy(self) -> None:
        if self.message:
            raise StackError("h1", "destroy", self.message)

    def undefine(self) -> None:
        """Return without an effect: the domain stays defined."""


def make_host(domain: object, commands: list[Sequence[str]]) -> Host:
    """Build a fake host with `domain` in libvirt; shell commands are appended to `commands`."""

    def record_command(*argv: str) -> SimpleNamespace:
        commands.append(argv)
        return SimpleNamespace(status=0, stderr="")

    names = [] if domain is None else ["mq-1"]
    libvirt = SimpleNamespace(
        find_domain=lambda _name: cast("Domain | None", domain),
        list_domain_states=lambda: dict.fromkeys(names, DomainState.RUNNING),
    )
    shell = SimpleNamespace(run_unchecked=record_command)
    return cast("Host", SimpleNamespace(name="h1", libvirt=libvirt, shell=shell))


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    """Yield an empty journal."""
    inventory = cast("Inventory", SimpleNamespace(file=None, tier=Tier.LAB))
    journal = Journal("r", inventory, tmp_path)
    yield journal
    journal.close()


@pytest.mark.parametrize(
    ("domain", "message"),
    [(UnremovableDomain(message=LOCK_MESSAGE), LOCK_MESSAGE), (UnremovableDomain(), "still there")],
    ids=["destroy-refused", "still-defined"],
)
def test_unremovable_domain_stays_in_journal(
    domain: UnremovableDomain,
    message: str,
    journal: Journal,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """
    A domain that cannot be removed is reported, and its entry stays in the journal.

    Expected: the images of the guest are removed nevertheless. `migqual sweep` can find the
    domain in the journal.
    """
    monkeypatch.setattr(volume, "REMOVAL_SECONDS", 0.1)
    commands: list[Sequence[str]] = []
    image_entry = journal.record("h1", "image", "/x", [("rm", "/x")])
    domain_entry = journal.record("h1", "domain", "mq-1")

    with pytest.raises(HostError, match=message):
        VolumeProvisioner(journal, {"h1": make_host(domain, commands)}).remove_entries(
            [image_entry, domain_entry]
        )

    assert commands == [("rm", "/x")]
    assert journal.open_entries == (domain_entry,)


def test_missing_domain_leaves_journal(journal: Journal) -> None:
    """The journal entry of a domain that the host no longer has is closed without a removal."""
    domain_entry = journal.record("h1", "domain", "mq-1")

    VolumeProvisioner(journal, {"h1": make_host(None, [])}).remove_entries([domain_entry])

    assert journal.open_entries == ()


def test_unreachable_host_is_tried_once(journal: Journal) -> None:
    """After the first failed connection, migqual skips the host's other entries in the journal.

    Each attempt to connect can take the complete connection timeout.
    """
    attempts: list[str] = []

    def raise_connection_lost() -> None:
        attempts.append("h1")
        raise ConnectionLost("h1", "no route")

    unreachable_host = cast(
        "Host",
        SimpleNamespace(
            name="h1", libvirt=SimpleNamespace(list_domain_states=raise_connection_lost)
        ),
    )
    domain_entries = [journal.record("h1", "domain", f"mq-{number}") for number in range(3)]

    with pytest.raises(ConnectionLost):
        VolumeProvisioner(journal, {"h1": unreachable_host}).remove_entries(domain_entries)

    assert attempts == ["h1"]
    assert len(journal.open_entries) == 3
