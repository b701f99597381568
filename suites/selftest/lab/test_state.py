"""The phase of a lab, detected from the state file, the processes and the namespaces."""

from pathlib import Path

import pytest

from migqual.inventory.entities import Acceleration
from migqual.lab import cgroup, state, topology
from migqual.lab.layout import LabLayout
from migqual.lab.state import LabPhase, LabState

pytestmark = pytest.mark.selftest


@pytest.fixture
def running_lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LabLayout:
    """Return the layout of a lab whose hosts have processes and namespaces."""
    monkeypatch.setenv("MIGQUAL_LABS", str(tmp_path / "labs"))
    monkeypatch.setenv("MIGQUAL_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(state, "NAMESPACE_FOLDER", tmp_path / "netns")
    monkeypatch.setattr(cgroup, "list_group_pids", lambda _: {1})
    layout = LabLayout("one", topology.load_topology("single-pair"))
    (tmp_path / "netns").mkdir()
    for namespace in layout.namespaces:
        (tmp_path / "netns" / namespace).touch()
    lab_state = LabState("one", LabPhase.UP, "single-pair", Acceleration.TCG, "now", "key")
    state.write_lab_state(layout, lab_state)
    return layout


def test_complete_lab_is_up(running_lab: LabLayout) -> None:
    assert state.detect_lab_phase(running_lab.name) is LabPhase.UP


def test_lab_without_a_namespace_is_a_leftover(running_lab: LabLayout) -> None:
    """A lab is a leftover if the network namespace of one host is missing."""
    (state.NAMESPACE_FOLDER / running_lab.get_host("b1").namespace).unlink()

    assert state.detect_lab_phase(running_lab.name) is LabPhase.LEFTOVER


def test_lab_with_a_dead_host_is_a_leftover(
    running_lab: LabLayout, monkeypatch: pytest.MonkeyPatch
) -> None:
    dead_group = running_lab.get_host("b1").cgroup_name
    monkeypatch.setattr(
        cgroup, "list_group_pids", lambda group: set() if group == dead_group else {1}
    )

    assert state.detect_lab_phase(running_lab.name) is LabPhase.LEFTOVER
