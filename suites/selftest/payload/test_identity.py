"""The command `identity` gives a restored guest an identity; `ctl` runs several commands."""

import re
from pathlib import Path

import pytest

from suites.selftest.support.meter_process import run_meter_process
from suites.selftest.support.network_namespace import GUEST_MAC, LinkedNamespaces
from suites.selftest.support.payload_daemon import PayloadDaemon, run_payload_daemon

pytestmark = pytest.mark.selftest
UUID_PATTERN = re.compile(r"[0-9a-f]{8}-([0-9a-f]{4}-){3}[0-9a-f]{12}")
NEW_MAC, NEW_LINK_LOCAL_ADDRESS = "02:00:00:00:00:0a", "fe80::ff:fe00:a"
GUEST_ID, OTHER_GUEST_ID, SEED = "00112233445566778899aabbccddeeff", "01" * 16, "ab" * 32


def test_identity_changes_the_boot_id(daemon: PayloadDaemon) -> None:
    """
    The command `identity` gives a restored guest a boot id of its own.

    All guests from one saved state have the same kernel boot id. After the command, the payload
    reports a new boot id instead.

    Preconditions: the test sends the command with the id of one guest, then with the id of a second
    guest.
    Expected: the kernel's boot id and the two new boot ids are three different UUIDs. After the
    first command, the reply to `status` contains the first new boot id.
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
    """The command `identity` with an invalid argument is refused, and the boot id stays the same.

    The error names the invalid argument.
    """
    boot_id_before = daemon.run_command("status")["boot_id"]

    assert error in daemon.expect_error(f"identity {arguments}")
    assert daemon.run_command("status")["boot_id"] == boot_id_before


@pytest.mark.parametrize(
    ("address", "prefix_length"), [("10.77.9.5", 24), ("fd77::5", 64)], ids=["ipv4", "ipv6"]
)
def test_identity_sets_an_address_for_use_at_once(
    program: Path, tmp_path: Path, namespaces: LinkedNamespaces, address: str, prefix_length: int
) -> None:
    """
    A restored guest can use the IP address from the command `identity` at once.

    Preconditions: the interface is up. For IPv6 the interface still has the link-local address
    of the old MAC address, as after a restore.
    Expected: the guest does no duplicate address detection. The client gets replies to probes
    and on the TCP session. The payload reports the new MAC and IP addresses.
    """
    namespaces.guest.run("ip", "link", "set", "guest", "up")
    launcher = namespaces.guest.launcher
    with run_payload_daemon(program, tmp_path, launcher=launcher) as daemon:
        nic_argument = f"nic0={GUEST_MAC},{NEW_MAC},{address}/{prefix_length}"
        daemon.run_command(f"identity id={GUEST_ID} seed={SEED} {nic_argument}")
        watch_command = (str(program), "watch", "--address", address, "--port", str(daemon.port))
        with run_meter_process(*namespaces.client.launcher, *watch_command) as meter:
            meter.read_until("p")
            meter.read_until("s")
        devices = daemon.run_command("devices")["devices"]
        addresses = namespaces.guest.run("ip", "-o", "address", "show", "dev", "guest")
        accept_dad = namespaces.guest.run("cat", "/proc/sys/net/ipv6/conf/guest/accept_dad")

    assert f" {address}/{prefix_length} " in addresses
    if ":" in address:
        # The kernel clears the mark `tentative` some time after the answer of the command.
        assert accept_dad.strip() == "0"
        assert re.findall(r" (fe80::\S+)/", addresses) == [NEW_LINK_LOCAL_ADDRESS]
    assert [
        (device["mac"], device["address"]) for device in devices if device["name"] == "guest"
    ] == [(NEW_MAC, address)]


@pytest.mark.parametrize(
    ("address", "error"),
    [
        ("10.77.9.5", "not ADDRESS/PREFIX"),
        ("10.77.9.5/33", "not ADDRESS/PREFIX"),
        ("fd77::5/0", "not ADDRESS/PREFIX"),
        ("fd77::5/129", "not ADDRESS/PREFIX"),
        ("fd77::5/64x", "not ADDRESS/PREFIX"),
        ("fd77:::5/64", "not an IP address"),
    ],
)
def test_identity_with_invalid_address_is_refused(
    program: Path, tmp_path: Path, namespaces: LinkedNamespaces, address: str, error: str
) -> None:
    """The payload refuses the command `identity` with an invalid IP address for the guest.

    The error names the reason, and the interface of the guest gets no address.
    """
    launcher = namespaces.guest.launcher
    with run_payload_daemon(program, tmp_path, launcher=launcher) as daemon:
        nic_argument = f"nic0={GUEST_MAC},{NEW_MAC},{address}"
        message = daemon.expect_error(f"identity id={GUEST_ID} seed={SEED} {nic_argument}")

    assert error in message
    assert namespaces.guest.run("ip", "-o", "address", "show", "dev", "guest") == ""


def test_later_identity_replaces_the_ipv6_address(
    program: Path, tmp_path: Path, namespaces: LinkedNamespaces
) -> None:
    """A second command `identity` replaces the IPv6 addresses that the first command set.

    The interface then has only the new IPv6 address and the new link-local address.
    """
    namespaces.guest.run("ip", "link", "set", "guest", "up")
    launcher = namespaces.guest.launcher
    with run_payload_daemon(program, tmp_path, launcher=launcher) as daemon:
        for old_mac, new_mac, address in (
            (GUEST_MAC, GUEST_MAC, "fd77::5"),
            (GUEST_MAC, NEW_MAC, "fd77::6"),
        ):
            nic_argument = f"nic0={old_mac},{new_mac},{address}/64"
            daemon.run_command(f"identity id={GUEST_ID} seed={SEED} {nic_argument}")
    addresses = namespaces.guest.run("ip", "-6", "-o", "address", "show", "dev", "guest")

    assert set(re.findall(r" inet6 (\S+)/64", addresses)) == {"fd77::6", NEW_LINK_LOCAL_ADDRESS}


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
