"""Topologies: every fault with its place; the shipped ones are whole."""

from pathlib import Path

import pytest

from migqual import places
from migqual.errors import InventoryError, UsageError
from migqual.lab import topology
from migqual.lab.topology import Role

pytestmark = pytest.mark.selftest

WHOLE = """\
hosts:
  a1: {}
  b1: {release: trixie}
  client: {role: client}
pairs:
  - {source: a1, destination: b1}
"""


def faults(tmp_path: Path, text: str) -> str:
    file = tmp_path / "bad.yml"
    file.write_text(text)
    with pytest.raises(InventoryError) as caught:
        topology.read(str(file))
    assert str(file) in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    "file", sorted((places.FIXTURES / "labs").glob("*.yml")), ids=lambda f: f.stem
)
def test_shipped_topologies(file: Path) -> None:
    """Each is read by its name and has what the suites need: stores, a client, pairs."""
    found = topology.read(file.stem)

    assert len(found.of_role(Role.STORAGE)) == 1
    assert {name for pair in found.pairs for name in (pair.source, pair.destination)} <= set(
        found.of_role(Role.HYPERVISOR)
    )


def test_the_default_has_two_separate_pairs() -> None:
    """Two workers never want the same host."""
    names = [n for pair in topology.read("default").pairs for n in (pair.source, pair.destination)]

    assert len(names) == len(set(names)) == 4


def test_twins_are_built_like_their_pairs() -> None:
    """
    Preconditions: two pairs on four hosts; five are to work side by side.
    Expected: three twins, of each pair in turn, on hosts of the same kind; not one where there are
    pairs enough; the lab reads its own description back.
    """
    plain = topology.read("default")
    found = topology.add_twins(plain, 5)

    assert [(pair.id, pair.twin_of) for pair in found.pairs[2:]] == [
        ("a1x0-b1x0", "a1-b1"),
        ("a2x1-b2x1", "a2-b2"),
        ("a1x2-b1x2", "a1-b1"),
    ]
    assert found.hosts["a1x2"] == plain.hosts["a1"]
    assert topology.Topology.model_validate(found.model_dump(mode="json")) == found
    assert topology.add_twins(plain, 2) == plain


def test_a_whole_topology(tmp_path: Path) -> None:
    """What is written is read; what is left out has its default."""
    file = tmp_path / "mine.yml"
    file.write_text(WHOLE)

    found = topology.read(str(file))

    assert {name: host.release for name, host in found.hosts.items()} == {
        "a1": "bookworm",
        "b1": "trixie",
        "client": "bookworm",
    }
    assert found.acceleration == "auto"


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("pairs:", "pairs: [", "line"),
        ("destination: b1", "destination: b9", "pair names b9, which is no hypervisor"),
        ("destination: b1", "destination: client", "pair names client, which is no hypervisor"),
        ("destination: b1", "destination: a1", "needs two hosts"),
        ("destination: b1", "destination: b1, twin_of: a9-b9", "twin of a9-b9, which is no pair"),
        ("{role: client}", "{}", "exactly one host must have the role client"),
        ("{role: client}", "{role: cook}", "hosts.client.role"),
        ("  a1: {}", "  a1: {rootfs: /nonsense}", "hosts.a1.rootfs: /nonsense is no root tree"),
        ("  a1: {}", "  a1: {}\n  a1: {}", "a1"),
        ("  a1: {}", "  a1: {realease: sid}", "hosts.a1.realease"),
        ("  a1: {}", "  a-host-with-a-long-name: {}", "a small letter and up to 8"),
        ("  a1: {}", "  a1: {}\n  s1: {role: storage}\n  s2: {role: storage}", "at most one"),
        ("pairs:", "acceleration: warp\npairs:", "acceleration"),
        ("pairs:", "links: {migration: {rate_mbit: -1}}\npairs:", "links.migration.rate_mbit"),
    ],
)
def test_faults_have_a_place(tmp_path: Path, old: str, new: str, words: str) -> None:
    """Each fault is told with the file and the place in it."""
    assert words in faults(tmp_path, WHOLE.replace(old, new, 1))


def test_all_faults_at_once(tmp_path: Path) -> None:
    """Two faults, two lines."""
    said = faults(tmp_path, WHOLE.replace("a1: {}", "a1: {x: 1}").replace("b1: {", "b1: {y: 2, "))

    assert "hosts.a1.x" in said
    assert "hosts.b1.y" in said


def test_all_faults_of_the_whole_at_once(tmp_path: Path) -> None:
    """Also those that no single line has."""
    said = faults(
        tmp_path, WHOLE.replace("{source: a1, destination: b1}", "{source: a8, destination: b9}")
    )

    assert "names a8" in said
    assert "names b9" in said


def test_an_unknown_name_is_answered_with_the_known_ones() -> None:
    """A misspelt topology costs one look."""
    with pytest.raises(UsageError, match="default") as caught:
        topology.read("defualt")
    assert "single-pair" in caught.value.remedy


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    """A path is taken as a path."""
    with pytest.raises(UsageError, match=r"none\.yml"):
        topology.read(str(tmp_path / "none.yml"))
