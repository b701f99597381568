"""docs/inventory.md names every variable and threshold, and its example is in order."""

import re
from dataclasses import fields
from pathlib import Path

import pytest

from migqual import places
from migqual.model.inventory_file import load_inventory
from migqual.model.inventory_schema import HostVariables
from migqual.model.inventory_tree import ALL_NAMES
from migqual.model.profile import Thresholds, load_profile

pytestmark = pytest.mark.selftest

PAGE = (places.ROOT / "docs" / "inventory.md").read_text()
INVENTORY, PROFILE = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)


def test_every_variable_is_described() -> None:
    """And none that there is not."""
    described = re.findall(r"^\| `((?:ansible|migqual)_\w+)` \|", PAGE, re.MULTILINE)

    assert sorted(described) == sorted({*HostVariables.model_fields, *ALL_NAMES})


def test_every_threshold_is_described_with_its_default() -> None:
    """As the library has it."""
    described = re.findall(r"^\| `(\w+_(?:ms|s|hz|percent|ratio))` \| (\S+) \|", PAGE, re.MULTILINE)

    assert [(name, float(default)) for name, default in described] == [
        (known.name, known.default) for known in fields(Thresholds)
    ]


def test_examples_are_in_order(tmp_path: Path) -> None:
    """Once the key and the known_hosts that the inventory names are there."""
    (tmp_path / "keys").mkdir()
    for name in ("id_ed25519", "known_hosts"):
        (tmp_path / "keys" / name).touch(mode=0o600)
    (tmp_path / "lab.yml").write_text(INVENTORY)
    (tmp_path / "ours.yml").write_text(PROFILE)

    assert len(load_inventory(tmp_path / "lab.yml", environ={}).stores) == 4
    assert load_profile(tmp_path / "ours.yml").thresholds.gap_max_ms == 500
