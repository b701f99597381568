"""The controller waits, so that an SSH server with penalties does not lock out the controller."""

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from migqual.hosts.ssh_penalties import (
    MARGIN_SECONDS,
    PenaltyLedger,
    PenaltySettings,
    parse_server_settings,
    parse_version_settings,
)
from migqual.inventory.entities import HostEntry

DEFAULT = PenaltySettings()


def make_host(port: int = 22) -> HostEntry:
    return HostEntry(name="a", address="192.0.2.1", known_hosts=Path("/none"), port=port)


def test_few_failed_logins_need_no_wait(tmp_path: Path) -> None:
    """A second failed login needs no wait, but before a third failed login migqual must wait.

    With the default penalties of OpenSSH, three failed logins without a wait cause a lock-out.
    """
    ledger = PenaltyLedger(tmp_path / "ledger.json")

    ledger.add_failed_login(make_host())
    assert ledger.calculate_wait_s(make_host(), DEFAULT.failed_login_s) == 0
    ledger.add_failed_login(make_host())
    assert 0 < ledger.calculate_wait_s(make_host(), DEFAULT.failed_login_s) <= DEFAULT.minimum_s


def test_each_server_has_its_own_penalties(tmp_path: Path) -> None:
    """A failed login to a server at one port causes no penalty at a server on another port."""
    ledger = PenaltyLedger(tmp_path / "ledger.json")
    for _ in range(10):
        ledger.add_failed_login(make_host())

    assert ledger.calculate_wait_s(make_host(port=2222), DEFAULT.failed_login_s) == 0
    assert ledger.calculate_wait_s(make_host(), DEFAULT.failed_login_s) > 30


def test_server_without_penalties_needs_no_wait(tmp_path: Path) -> None:
    """Logins to a server without penalties never wait."""
    ledger = PenaltyLedger(tmp_path / "ledger.json")
    ledger.set_settings(make_host(), None)
    for _ in range(10):
        ledger.add_failed_login(make_host())

    assert ledger.calculate_wait_s(make_host(), DEFAULT.failed_login_s) == 0


def test_processes_share_the_penalties(tmp_path: Path) -> None:
    """After two failed logins of one process, another process must wait before its next login.

    For each failed login, the SSH server gives a penalty (a time in seconds) to the address of the
    controller. All processes on the controller use this address, so each process must count the
    failed logins of all processes.
    """
    for _ in range(2):
        PenaltyLedger(tmp_path / "ledger.json").add_failed_login(make_host())

    other_ledger = PenaltyLedger(tmp_path / "ledger.json")
    assert other_ledger.calculate_wait_s(make_host(), DEFAULT.failed_login_s) > 0
    assert other_ledger.calculate_wait_s(make_host(port=2222), DEFAULT.failed_login_s) == 0


def test_simultaneous_logins_stay_below_the_minimum(tmp_path: Path) -> None:
    """
    Several simultaneous failed logins cause no lock-out of the controller.

    Preflight tries some logins that must fail. The SSH server gives a penalty (a time in seconds)
    for each failed login. When the sum of the penalties reaches the setting `min` of the server,
    the server refuses all connections (the lock-out).

    Preconditions: five threads with one failed login each. The threads use two ledgers (records of
    penalties), as two processes would. Both ledgers use the same file. The penalties are short, so
    that the waits are short.
    Expected: the logins wait, so that the sum of the penalties always stays below `min`.
    """
    settings = PenaltySettings(failed_login_s=0.2, unused_connection_s=0.1, minimum_s=2.5)
    ledgers = [PenaltyLedger(tmp_path / "ledger.json") for _ in range(2)]
    for ledger in ledgers:
        ledger.set_settings(make_host(), settings)
    begin = time.monotonic()

    with ThreadPoolExecutor(5) as pool:
        moments = sorted(
            pool.map(
                lambda number: (
                    ledgers[number % 2].wait_before_failed_login(make_host()) or time.monotonic()
                ),
                range(5),
            )
        )

    limit_s = settings.minimum_s - MARGIN_SECONDS
    for number, moment in enumerate(moments, start=1):
        assert number * settings.failed_login_s - (moment - begin) <= limit_s + 0.05


@pytest.mark.parametrize(
    "contents", ["", "{", "[1]", "null", '{"192.0.2.1:22": "soon"}', '{"192.0.2.1:22": 9e12}']
)
def test_damaged_ledger_is_like_an_empty_one(tmp_path: Path, contents: str) -> None:
    (tmp_path / "ledger.json").write_text(contents)
    ledger = PenaltyLedger(tmp_path / "ledger.json")

    assert ledger.calculate_wait_s(make_host(), DEFAULT.failed_login_s) == 0
    ledger.add_failed_login(make_host())
    ledger.add_failed_login(make_host())
    assert ledger.calculate_wait_s(make_host(), DEFAULT.failed_login_s) > 0


def test_ledger_without_a_file_counts_the_own_process(tmp_path: Path) -> None:
    """If the ledger file cannot be created, the process still counts its own failed logins."""
    (tmp_path / "file").touch()
    ledger = PenaltyLedger(tmp_path / "file" / "ledger.json")
    for _ in range(2):
        ledger.add_failed_login(make_host())

    assert ledger.calculate_wait_s(make_host(), DEFAULT.failed_login_s) > 0


@pytest.mark.parametrize(
    ("banner", "expected"),
    [
        ("SSH-2.0-OpenSSH_9.2p1 Debian-2+deb12u7", None),
        ("SSH-2.0-OpenSSH_9.8", DEFAULT),
        ("SSH-2.0-OpenSSH_10.0p2 Debian-7", DEFAULT),
        ("SSH-2.0-dropbear_2024.86", None),
    ],
)
def test_banner_shows_whether_a_server_has_penalties(
    banner: str, expected: PenaltySettings | None
) -> None:
    """OpenSSH has penalties from release 9.8 on."""
    assert parse_version_settings(banner) == expected


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("persourcepenalties no", None),
        ("port 22", None),
        (
            "persourcepenalties crash:90.000s authfail:2 noauth:1 max:600 min:30",
            PenaltySettings(2.0, 1.0, 30.0),
        ),
    ],
)
@pytest.mark.parametrize("has_capitals", [False, True])
def test_settings_of_the_server_are_read(
    line: str, expected: PenaltySettings | None, *, has_capitals: bool
) -> None:
    """The penalty settings of an SSH server are read from the output of `sshd -T`.

    From OpenSSH 10.6 on, the names of settings in this output have capital letters.
    """
    line = line.replace("persource", "PerSource") if has_capitals else line
    assert parse_server_settings(f"usepam no\n{line}\nusedns no\n") == expected
