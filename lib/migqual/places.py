"""Where things lie: the checkout, the cache, the state. The only module that knows paths."""

import os
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FIXTURES = ROOT / "fixtures"
REPORTS = ROOT / "reports"
OUT = REPORTS / "out"


def cache() -> Path:
    """Root trees, guest images: costly, made again from their inputs at any time."""
    return Path(os.environ.get("MIGQUAL_CACHE", "/var/cache/migqual"))


def state() -> Path:
    """Journals: what runs have put on hosts and not yet removed. Never delete by hand."""
    return Path(os.environ.get("MIGQUAL_STATE", "/var/lib/migqual"))


def labs() -> Path:
    """Run-time folders of embedded labs, one per name; gone after `migqual lab down`."""
    return Path(os.environ.get("MIGQUAL_LABS", "/run/migqual/labs"))
