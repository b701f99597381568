"""Migration parameters are compared with the earlier parameters of the same guest."""

from typing import Any, cast

import pytest

from migqual.hosts.guest import Guest
from suites.support import compression
from suites.support.compression import ParameterState, list_changed_parameters

pytestmark = pytest.mark.selftest

OLD = {"multifd-channels": 2, "compress-level": 1}
NEW = {"multifd-channels": 2, "direct-io": False}


@pytest.mark.parametrize(
    ("host", "now", "changed"),
    [
        ("a1", OLD, {}),
        ("a1", NEW, {"compress-level": (1, None), "direct-io": (None, False)}),
        ("b1", NEW, {}),
        ("b1", NEW | {"multifd-channels": 4}, {"multifd-channels": (2, 4)}),
    ],
)
def test_changed_parameters(
    monkeypatch: pytest.MonkeyPatch,
    host: str,
    now: dict[str, Any],
    changed: dict[str, tuple[Any, Any]],
) -> None:
    """Each migration parameter whose value differs from the earlier value is listed as a change.

    After a move from host a1 to host b1, only the parameters that both QEMU versions have are
    compared.
    """
    monkeypatch.setattr(
        compression, "read_parameter_state", lambda _guest: ParameterState(host, now)
    )

    assert list_changed_parameters(cast("Guest", None), ParameterState("a1", OLD)) == changed
