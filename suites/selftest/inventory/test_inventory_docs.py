"""docs/inventory.md describes every variable and threshold, and the examples are valid."""

import re
from dataclasses import fields
from pathlib import Path

import pytest

from migqual import paths
from migqual.inventory.file import load_inventory
from migqual.inventory.group_tree import ALL_GROUP_VARIABLE_NAMES
from migqual.inventory.schema import HostVariables
from migqual.model.profile import Thresholds, load_profile

pytestmark = pytest.mark.selftest

PAGE_TEXT = (paths.ROOT / "docs" / "inventory.md").read_text()
EXAMPLE_INVENTORY, EXAMPLE_PROFILE = re.findall(r"```yaml\n(.*?)```", PAGE_TEXT, re.DOTALL)


def test_every_variable_is_described() -> None:
    """The page describes every variable, and no unknown variable."""
    described_names = re.findall(r"^\| `((?:ansible|migqual)_\w+)` \|", PAGE_TEXT, re.MULTILINE)

    assert sorted(described_names) == sorted(
        {*HostVariables.model_fields, *ALL_GROUP_VARIABLE_NAMES}
    )


def test_every_threshold_is_described_with_its_default() -> None:
    """The page lists every threshold with the default of the library."""
    described_thresholds = re.findall(
        r"^\| `(\w+_(?:ms|s|hz|percent|ratio))` \| (\S+) \|", PAGE_TEXT, re.MULTILINE
    )

    assert [(name, float(default)) for name, default in described_thresholds] == [
        (threshold.name, threshold.default) for threshold in fields(Thresholds)
    ]


def test_examples_are_valid(tmp_path: Path) -> None:
    """The examples load if the key and known_hosts of the inventory exist."""
    (tmp_path / "keys").mkdir()
    for name in ("id_ed25519", "known_hosts"):
        (tmp_path / "keys" / name).touch(mode=0o600)
    (tmp_path / "lab.yml").write_text(EXAMPLE_INVENTORY)
    (tmp_path / "ours.yml").write_text(EXAMPLE_PROFILE)

    assert len(load_inventory(tmp_path / "lab.yml", environ={}).stores) == 4
    assert load_profile(tmp_path / "ours.yml").thresholds.gap_max_ms == 500
