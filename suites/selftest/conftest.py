"""The payload, compiled once for all tests of it, and its daemon."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from migqual import places
from migqual.image.payload import ensure_payload
from suites.selftest.payload_daemon import Daemon, serving


@pytest.fixture(scope="session")
def program() -> Path:
    """The payload's program, as guests and hosts run it."""
    return ensure_payload(places.cache(), lambda _words: None)


@pytest.fixture
def daemon(program: Path, tmp_path: Path) -> Iterator[Daemon]:
    """A daemon of the payload that runs on this machine."""
    with serving(program, tmp_path) as running:
        yield running
