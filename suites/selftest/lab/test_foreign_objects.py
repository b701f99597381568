"""Each change of a foreign object on a lab host is found.

A foreign object is a guest or a file that does not belong to migqual.
"""

from collections.abc import Callable
from pathlib import Path

import pytest

from migqual.lab import foreign_objects, topology
from migqual.lab.layout import LabLayout

pytestmark = pytest.mark.selftest

DISK = "var/lib/libvirt/images/foreign.img"


@pytest.fixture
def layout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LabLayout:
    """Return the layout of a lab whose host a2 has files that do not belong to migqual.

    No process of the lab runs.
    """
    monkeypatch.setenv("MIGQUAL_CACHE", str(tmp_path / "cache"))
    layout = LabLayout("one", topology.load_topology("default"))
    foreign_objects.write_foreign_objects(layout.get_host("a2").upper)
    return layout


def write_other_bytes(file: Path) -> None:
    file.write_bytes(b"other")


def change_mode(file: Path) -> None:
    file.chmod(0o600)


@pytest.mark.parametrize("damage", [write_other_bytes, change_mode, Path.unlink])
def test_damaged_file_is_found(layout: LabLayout, damage: Callable[[Path], None]) -> None:
    states_before = foreign_objects.read_foreign_objects(layout)

    damage(layout.get_host("a2").upper / DISK)

    states_after = foreign_objects.read_foreign_objects(layout)
    changed_objects = foreign_objects.find_changed_objects(states_before, states_after)
    assert changed_objects == [f"a2: /{DISK}"]


def test_restarted_guest_is_found() -> None:
    """A foreign guest that somebody restarted during a run is in the list of changed objects.

    The QEMU process of the guest then has another process id and another start time.
    """
    before, after = {"a2: guest foreign": "7 at 1"}, {"a2: guest foreign": "9 at 5"}

    assert foreign_objects.find_changed_objects(before, after) == ["a2: guest foreign"]


def test_untouched_objects_have_no_change(layout: LabLayout) -> None:
    states = foreign_objects.read_foreign_objects(layout)

    assert len(states) == 4
    assert not foreign_objects.find_changed_objects(
        states, foreign_objects.read_foreign_objects(layout)
    )
