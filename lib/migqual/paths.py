"""Define the base folders of migqual: checkout, reports, cache, journals and labs."""

import os
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FIXTURES = ROOT / "fixtures"
REPORTS = ROOT / "reports"
DEFAULT_OUTPUT = REPORTS / "out"


def get_cache_folder() -> Path:
    """Return the folder of root file systems and guest images; `MIGQUAL_CACHE` overrides the path.

    migqual builds a missing file again, which may take some minutes.
    """
    return Path(os.environ.get("MIGQUAL_CACHE", "/var/cache/migqual"))


def get_state_folder() -> Path:
    """Return the parent folder of the journals; `MIGQUAL_STATE` overrides the path.

    A journal lists the objects that a run created on hosts and has not yet removed. Never delete
    a journal by hand.
    """
    return Path(os.environ.get("MIGQUAL_STATE", "/var/lib/migqual"))


def get_labs_folder() -> Path:
    """Return the parent folder of the lab folders; `MIGQUAL_LABS` overrides the path.

    Each lab has a folder with the name of the lab, until `migqual lab down` removes the folder.
    """
    return Path(os.environ.get("MIGQUAL_LABS", "/run/migqual/labs"))
