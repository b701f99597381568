"""Provide the compiled payload program and a running payload daemon to the tests."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from migqual import paths
from migqual.image.payload import ensure_payload
from suites.selftest.support.payload_daemon import PayloadDaemon, run_payload_daemon


@pytest.fixture(scope="session")
def program() -> Path:
    """Return the path of the payload program, the same program as on guests and hosts.

    The program is compiled once for all tests.
    """
    return ensure_payload(paths.get_cache_folder(), lambda _message: None)


@pytest.fixture
def daemon(program: Path, tmp_path: Path) -> Iterator[PayloadDaemon]:
    """Yield a payload daemon on the local machine."""
    with run_payload_daemon(program, tmp_path) as payload_daemon:
        yield payload_daemon
