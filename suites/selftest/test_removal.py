"""What was made goes; what cannot go stays written down, and keeps nothing else."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from migqual.errors import ConnectionLost, HostError, StackError
from migqual.hosts.domain import Domain
from migqual.hosts.host import Host
from migqual.hosts.journal import Journal
from migqual.hosts.volume import Volumes
from migqual.model.inventory import Inventory, Tier

pytestmark = pytest.mark.selftest

HELD = "cannot acquire state change lock"


class Stubborn:
    """A domain that libvirt does not let go of, or says so and keeps it."""

    def __init__(self, *, words: str = "") -> None:
        self.words = words

    def destroy(self) -> None:
        if self.words:
            raise StackError("h1", "destroy", self.words)

    def undefine(self) -> None:
        """Nothing happens."""


def host(domain: object, done: list[Sequence[str]]) -> Host:
    """One whose libvirt has `domain`; `done` gathers the commands it is given."""

    def attempt(*argv: str) -> SimpleNamespace:
        done.append(argv)
        return SimpleNamespace(status=0, stderr="")

    libvirt = SimpleNamespace(lookup=lambda _name: cast("Domain | None", domain))
    shell = SimpleNamespace(attempt=attempt)
    return cast("Host", SimpleNamespace(name="h1", libvirt=libvirt, shell=shell))


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    """An empty one."""
    inventory = cast("Inventory", SimpleNamespace(file=None, tier=Tier.LAB))
    journal = Journal("r", inventory, tmp_path)
    yield journal
    journal.close()


@pytest.mark.parametrize(
    ("domain", "words"),
    [(Stubborn(words=HELD), HELD), (Stubborn(), "still there")],
    ids=["refused", "kept"],
)
def test_a_domain_that_stays_is_told_and_kept_in_the_journal(
    domain: Stubborn, words: str, journal: Journal
) -> None:
    """Its images go nevertheless; `migqual sweep` finds it in the journal."""
    done: list[Sequence[str]] = []
    image = journal.record("h1", "image", "/x", [("rm", "/x")])
    made = journal.record("h1", "domain", "mq-1")

    with pytest.raises(HostError, match=words):
        Volumes(journal, {"h1": host(domain, done)}).remove([image, made])

    assert done == [("rm", "/x")]
    assert journal.outstanding == (made,)


def test_what_is_gone_is_crossed_out(journal: Journal) -> None:
    """Nothing is left to do."""
    made = journal.record("h1", "domain", "mq-1")

    Volumes(journal, {"h1": host(None, [])}).remove([made])

    assert journal.outstanding == ()


def test_a_host_that_is_lost_is_tried_once(journal: Journal) -> None:
    """Each try may take as long as a connection does to be given up."""
    tries: list[str] = []

    def lookup(name: str) -> None:
        tries.append(name)
        raise ConnectionLost("h1", "no route")

    away = cast("Host", SimpleNamespace(name="h1", libvirt=SimpleNamespace(lookup=lookup)))
    made = [journal.record("h1", "domain", f"mq-{number}") for number in range(3)]

    with pytest.raises(ConnectionLost):
        Volumes(journal, {"h1": away}).remove(made)

    assert tries == ["mq-2"]
    assert len(journal.outstanding) == 3
