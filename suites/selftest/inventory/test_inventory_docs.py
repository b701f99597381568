"""docs/inventory.md describes every variable and threshold.

The inventory in README describes the lab `as-real`.
"""

import re
from dataclasses import fields, replace
from pathlib import Path
from textwrap import dedent

import pytest

from migqual import paths
from migqual.inventory.entities import Acceleration, CertificateSource, Inventory
from migqual.inventory.file import load_inventory
from migqual.inventory.group_tree import ALL_GROUP_VARIABLE_NAMES
from migqual.inventory.schema import HostVariables
from migqual.lab import inventory_export
from migqual.lab.layout import LabLayout
from migqual.lab.topology import load_topology
from migqual.model.profile import Thresholds, load_profile

pytestmark = pytest.mark.selftest

PAGE_TEXT = (paths.ROOT / "docs" / "inventory.md").read_text()
EXAMPLE_INVENTORY, EXAMPLE_PROFILE = re.findall(r"```yaml\n(.*?)```", PAGE_TEXT, re.DOTALL)


def test_every_variable_is_described() -> None:
    """docs/inventory.md describes every variable of an inventory, and no unknown variable."""
    described_names = re.findall(r"^\| `((?:ansible|migqual)_\w+)` \|", PAGE_TEXT, re.MULTILINE)

    assert sorted(described_names) == sorted(
        {*HostVariables.model_fields, *ALL_GROUP_VARIABLE_NAMES}
    )


def test_every_threshold_is_described_with_its_default() -> None:
    """docs/inventory.md lists every threshold of a profile with the correct default."""
    described_thresholds = re.findall(
        r"^\| `(\w+_(?:ms|s|hz|percent|ratio))` \| (\S+) \|", PAGE_TEXT, re.MULTILINE
    )

    assert [(name, float(default)) for name, default in described_thresholds] == [
        (threshold.name, threshold.default) for threshold in fields(Thresholds)
    ]


def read_readme_inventory() -> str:
    """Read the inventory in README, which is an indented block that begins with `all:`."""
    lines = (paths.ROOT / "README.md").read_text().splitlines()
    start = next(index for index, line in enumerate(lines) if line.strip() == "all:")
    indentation = lines[start].partition("all:")[0]
    end = next(
        index
        for index, line in enumerate(lines)
        if index > start and not line.startswith(indentation)
    )
    return dedent("\n".join(lines[start:end]))


def select_common_part(inventory: Inventory) -> Inventory:
    """Return a copy of the inventory with fixed values for the settings that are not compared.

    The inventory in README and the inventory of the lab may differ in acceleration, guest CPU,
    certificates, power command and exclusive use of hosts.
    """
    hosts = {
        name: replace(
            host, is_exclusive=False, certificate_source=CertificateSource.OWN, power_command=""
        )
        for name, host in inventory.hosts.items()
    }
    pairs = tuple(
        replace(pair, source=hosts[pair.source.name], destination=hosts[pair.destination.name])
        for pair in inventory.pairs
    )
    return replace(
        inventory,
        hosts=hosts,
        pairs=pairs,
        client=hosts[inventory.client.name] if inventory.client else None,
        acceleration=Acceleration.AUTO,
        guest_cpu=None,
        file=None,
    )


def test_inventory_of_readme_describes_the_lab_as_real(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The inventory in README is equal to the inventory of the lab `as-real`.

    Hosts, logins, addresses, bridges, pairs and stores are compared.
    """
    monkeypatch.setenv("MIGQUAL_LABS", str(tmp_path))
    layout = LabLayout("lab", load_topology("as-real"))
    layout.ssh_key_file.parent.mkdir(parents=True)
    layout.ssh_key_file.touch(0o600)
    layout.known_hosts_file.touch()
    lab_file = inventory_export.write_inventory(layout, acceleration=Acceleration.TCG)
    readme_file = lab_file.with_name("readme.yml")
    readme_file.write_text(read_readme_inventory())

    readme_inventory = load_inventory(readme_file, environ={})

    assert select_common_part(readme_inventory) == select_common_part(
        load_inventory(lab_file, environ={})
    )


def test_examples_are_valid(tmp_path: Path) -> None:
    """The two examples in docs/inventory.md, an inventory and a profile, are valid.

    The test creates the SSH key and the known_hosts file that the inventory names.
    """
    (tmp_path / "keys").mkdir()
    for name in ("id_ed25519", "known_hosts"):
        (tmp_path / "keys" / name).touch(mode=0o600)
    (tmp_path / "lab.yml").write_text(EXAMPLE_INVENTORY)
    (tmp_path / "ours.yml").write_text(EXAMPLE_PROFILE)

    assert len(load_inventory(tmp_path / "lab.yml", environ={}).stores) == 4
    assert load_profile(tmp_path / "ours.yml").thresholds.gap_max_ms == 500
