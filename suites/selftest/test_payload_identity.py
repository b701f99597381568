"""A restored guest becomes one of its own; several commands take one process."""

import re

import pytest

from suites.selftest.payload_daemon import Daemon

pytestmark = pytest.mark.selftest
UUID = re.compile(r"[0-9a-f]{8}-([0-9a-f]{4}-){3}[0-9a-f]{12}")
ID, OTHER, SEED = "00112233445566778899aabbccddeeff", "01" * 16, "ab" * 32


def test_an_identity_changes_the_boot_id(daemon: Daemon) -> None:
    """
    Guests of one saved state had one boot; each is told from the others all the same.

    Expected: a UUID, another for each identity, never the kernel's own, and the same at each
    question.
    """
    kernel = daemon.ask("status")["boot_id"]
    first = daemon.ask(f"identity id={ID} seed={SEED}")["boot_id"]
    asked = daemon.ask("status")["boot_id"]
    second = daemon.ask(f"identity id={OTHER} seed={SEED}")["boot_id"]

    assert all(UUID.fullmatch(one) for one in (kernel, first, second))
    assert len({kernel, first, second}) == 3
    assert asked == first


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (f"seed={SEED}", "id: not 16 bytes"),
        (f"id=12 seed={SEED}", "id: not 16 bytes"),
        (f"id={ID}", "seed: not 32 bytes"),
        (f"id={ID} seed={SEED} nic0=nonsense", "not OLD_MAC,NEW_MAC"),
        (f"id={ID} seed={SEED} nic0=02:00:00:00:00:01,02:00:00:00:00:02", "no interface has"),
        (f"id={ID} seed={SEED} nic9=x", "not understood"),
    ],
)
def test_an_identity_that_cannot_be_taken_is_refused(
    daemon: Daemon, words: str, error: str
) -> None:
    """The guest stays who it was, and says what was wrong."""
    before = daemon.ask("status")["boot_id"]

    assert error in daemon.refuse(f"identity {words}")
    assert daemon.ask("status")["boot_id"] == before


def test_several_commands_are_answered_in_order(daemon: Daemon) -> None:
    """
    `ctl` takes commands with `;` between them, and ends with the first that fails.

    Expected: one line of JSON for each that ran, in order; exit status 0 only where all succeeded.
    """
    argv = ("ctl", "--socket", str(daemon.socket))
    good = daemon.tool(*argv, "memory", "start", "a", "mib=1", ";", "memory", "verify", "a")
    bad = daemon.tool(*argv, "memory", "verify", "b", ";", "status")

    assert good.returncode == 0
    assert [line.count('"checked"') for line in good.stdout.splitlines()] == [0, 1]
    assert (bad.returncode, len(bad.stdout.splitlines())) == (1, 1)
