"""Calls for which libvirt's Python binding reports an error without an exception."""

import libvirt
import pytest

from migqual.errors import StackError
from migqual.hosts.domain import Domain

pytestmark = pytest.mark.selftest


def test_refused_query_of_the_downtime_is_an_error() -> None:
    """
    A refused query of the maximum downtime raises an error with the message of libvirt.

    Preconditions: a domain of libvirt's test driver, which does not support the query. The binding
    returns None.
    """
    connection = libvirt.open("test:///default")
    try:
        domain = Domain("a1", connection.lookupByName("test"))
        with pytest.raises(StackError, match=r"a1: query maximum downtime: .*not supported"):
            domain.query_max_downtime_ms()
    finally:
        connection.close()
