"""Provide the compiled payload program, a running payload daemon and namespaces to the tests."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from migqual import paths
from migqual.hosts.host import Host
from migqual.image.payload import ensure_payload
from suites.selftest.support.namespace_host import open_namespace_host
from suites.selftest.support.network_namespace import (
    GUEST_ADDRESSES,
    LinkedNamespaces,
    create_linked_namespaces,
)
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


@pytest.fixture
def namespaces() -> Iterator[LinkedNamespaces]:
    """Yield the network namespaces of a guest and a client."""
    if os.geteuid() != 0:
        pytest.skip("only root can create network namespaces")
    with create_linked_namespaces() as linked_namespaces:
        yield linked_namespaces


@pytest.fixture(params=[("10.77.9.1", "10.77.9.2"), ("fd77::1", "fd77::2")], ids=["ipv4", "ipv6"])
def linked_hosts(
    namespaces: LinkedNamespaces, request: pytest.FixtureRequest
) -> Iterator[tuple[Host, Host]]:
    """Yield two hosts with a link between the two, once for each family of addresses."""
    first_address, second_address = request.param
    namespaces.guest.run("ip", "link", "set", "guest", "up")
    for address in GUEST_ADDRESSES:
        namespaces.guest.add_address(address, "guest")
    with (
        open_namespace_host("first", first_address, namespaces.client) as first_host,
        open_namespace_host("second", second_address, namespaces.guest) as second_host,
    ):
        yield first_host, second_host
