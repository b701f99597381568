"""Paths of the checkout, the cache and the state.

No other module knows paths.
"""

import os
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FIXTURES = ROOT / "fixtures"
REPORTS = ROOT / "reports"
DEFAULT_OUTPUT = REPORTS / "out"


def get_cache_folder() -> Path:
    """Return the folder of root trees and guest images; `MIGQUAL_CACHE` changes the folder.

    The files are expensive to build. migqual can build the files again at any time.
    """
    return Path(os.environ.get("MIGQUAL_CACHE", "/var/cache/migqual"))


def get_state_folder() -> Path:
    """Return the folder of journals; `MIGQUAL_STATE` changes the folder.

    A journal lists the objects created on hosts by a run and not yet removed. Never delete a
    journal by hand.
    """
    return Path(os.environ.get("MIGQUAL_STATE", "/var/lib/migqual"))


def get_labs_folder() -> Path:
    """Return the parent of the lab folders; `MIGQUAL_LABS` changes the folder.

    Each embedded lab has a run-time folder with the lab's name. `migqual lab down` removes the
    folder.
    """
    return Path(os.environ.get("MIGQUAL_LABS", "/run/migqual/labs"))
