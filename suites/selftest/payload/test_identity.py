"""A restored guest gets an identity; several commands run in a single process."""

import re

import pytest

from suites.selftest.support.payload_daemon import PayloadDaemon

pytestmark = pytest.mark.selftest
UUID_PATTERN = re.compile(r"[0-9a-f]{8}-([0-9a-f]{4}-){3}[0-9a-f]{12}")
GUEST_ID, OTHER_GUEST_ID, SEED = "00112233445566778899aabbccddeeff", "01" * 16, "ab" * 32


def test_identity_changes_the_boot_id(daemon: PayloadDaemon) -> None:
    """
    Guests from the same saved state share the kernel's boot id; an identity gives each guest a
    different boot id.

    Expected: a UUID, different for each identity, never the kernel's boot id, and the same in
    each reply.
    """
    kernel_boot_id = daemon.run_command("status")["boot_id"]
    first_boot_id = daemon.run_command(f"identity id={GUEST_ID} seed={SEED}")["boot_id"]
    current_boot_id = daemon.run_command("status")["boot_id"]
    second_boot_id = daemon.run_command(f"identity id={OTHER_GUEST_ID} seed={SEED}")["boot_id"]

    assert all(
        UUID_PATTERN.fullmatch(boot_id)
        for boot_id in (kernel_boot_id, first_boot_id, second_boot_id)
    )
    assert len({kernel_boot_id, first_boot_id, second_boot_id}) == 3
    assert current_boot_id == first_boot_id


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (f"seed={SEED}", "id: not 16 bytes"),
        (f"id=12 seed={SEED}", "id: not 16 bytes"),
        (f"id={GUEST_ID}", "seed: not 32 bytes"),
        (f"id={GUEST_ID} seed={SEED} nic0=nonsense", "not OLD_MAC,NEW_MAC"),
        (f"id={GUEST_ID} seed={SEED} nic0=02:00:00:00:00:01,02:00:00:00:00:02", "no interface has"),
        (f"id={GUEST_ID} seed={SEED} nic9=x", "not understood"),
    ],
)
def test_invalid_identity_is_refused(daemon: PayloadDaemon, arguments: str, error: str) -> None:
    """The boot id of the guest stays unchanged, and the error names the invalid argument."""
    boot_id_before = daemon.run_command("status")["boot_id"]

    assert error in daemon.expect_error(f"identity {arguments}")
    assert daemon.run_command("status")["boot_id"] == boot_id_before


def test_ctl_runs_several_commands_in_order(daemon: PayloadDaemon) -> None:
    """
    `ctl` takes several commands, separated by `;`, and stops at the first failed command.

    Expected: a line of JSON for each executed command, in order. The exit status is 0 only if
    all commands succeed.
    """
    argv = ("ctl", "--socket", str(daemon.socket_path))
    success_result = daemon.run_subcommand(
        *argv, "memory", "start", "a", "mib=1", ";", "memory", "verify", "a"
    )
    failure_result = daemon.run_subcommand(*argv, "memory", "verify", "b", ";", "status")

    assert success_result.returncode == 0
    assert [line.count('"checked"') for line in success_result.stdout.splitlines()] == [0, 1]
    assert (failure_result.returncode, len(failure_result.stdout.splitlines())) == (1, 1)
