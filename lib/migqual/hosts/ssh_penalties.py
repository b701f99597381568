"""Wait before SSH logins that must fail, so that the server does not lock out the controller.

OpenSSH 9.8 and later refuse every connection of a client address for some time after several
failed logins (`PerSourcePenalties` in sshd_config(5), on by default). Preflight tries some logins
that the server must refuse. All processes of migqual on a machine record the penalties in one file,
the ledger, because the servers see one client address.
"""

import fcntl
import json
import os
import re
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from migqual import paths
from migqual.deadline import Deadline
from migqual.inventory.entities import HostEntry

FIRST_VERSION = (9, 8)
MARGIN_SECONDS = 2.0
LEDGER_FILE = "ssh-penalties.json"
MAX_PENALTY_SECONDS = 600.0  # `max` of sshd_config(5)


@dataclass(frozen=True)
class PenaltySettings:
    """The setting `PerSourcePenalties` of an SSH server, with the defaults of sshd_config(5).

    The server adds up the penalties of each client address. A penalty is a time in seconds.

    Attributes:
        failed_login_s: Penalty for a connection with a failed login (``authfail``).
        unused_connection_s: Penalty for a connection without a login (``noauth``).
        minimum_s: When the sum of the penalties reaches this value, the server refuses all
            connections of the client (``min``).
    """

    failed_login_s: float = 5.0
    unused_connection_s: float = 1.0
    minimum_s: float = 15.0


def parse_version_settings(banner: str) -> PenaltySettings | None:
    """Return the default `PerSourcePenalties` of the SSH server that sent `banner`.

    The result is None if the banner does not name OpenSSH 9.8 or later: migqual then expects no
    penalties from the server.
    """
    match = re.search(r"OpenSSH_(\d+)\.(\d+)", banner)
    if match is None or (int(match[1]), int(match[2])) < FIRST_VERSION:
        return None
    return PenaltySettings()


def parse_server_settings(sshd_output: str) -> PenaltySettings | None:
    """Return the `PerSourcePenalties` in the output of `sshd -T`; None if penalties are off."""
    match = re.search(r"(?im)^persourcepenalties (.*)$", sshd_output)
    if match is None or match[1].strip() == "no":
        return None
    values = dict(re.findall(r"(\S+):([\d.]+)", match[1]))
    default = PenaltySettings()
    return PenaltySettings(
        float(values.get("authfail", default.failed_login_s)),
        float(values.get("noauth", default.unused_connection_s)),
        float(values.get("min", default.minimum_s)),
    )


@dataclass
class PenaltyLedger:
    """An estimate of the penalties that each SSH server has given to the controller.

    sshd gives a penalty of some seconds for a failed login or an unused connection. When the sum of
    the penalties is too large, sshd refuses all connections of the controller (the lock-out). With
    each second that passes, the sum becomes one second smaller. If the settings of a server are not
    known, the ledger uses the default settings.

    Attributes:
        file: File with the penalties of all processes; None means a file in the state folder. A
            process that cannot write the file counts its own penalties only.
    """

    file: Path | None = None
    _own_expiry_times: dict[str, float] = field(default_factory=dict)
    _settings: dict[str, PenaltySettings | None] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def set_settings(self, host: HostEntry, settings: PenaltySettings | None) -> None:
        """Store the `PerSourcePenalties` of an SSH server; None means no penalties."""
        self._settings[_get_server(host)] = settings

    def get_settings(self, host: HostEntry) -> PenaltySettings | None:
        """Return the stored `PerSourcePenalties` of an SSH server; None means no penalties.

        Before a call of `set_settings` for the server, the result is the default settings.
        """
        return self._settings.get(_get_server(host), PenaltySettings())

    def knows_settings(self, host: HostEntry) -> bool:
        """Return whether `set_settings` was called for the host's SSH server.

        If the result is False, `get_settings` returns the default settings.
        """
        return _get_server(host) in self._settings

    def wait_before_failed_login(self, host: HostEntry) -> None:
        """Wait before a login that must fail, so that the server does not lock out the controller.

        The method also records the penalty that the server will give for the failed login.
        """
        if settings := self.get_settings(host):
            self._wait(host, settings, settings.failed_login_s)

    def wait_before_unused_connection(self, host: HostEntry) -> None:
        """Wait before an SSH connection that the controller will close without a login.

        Without the wait, the server could lock out the controller. The method also records the
        penalty that the server will give for the connection.
        """
        if settings := self.get_settings(host):
            self._wait(host, settings, settings.unused_connection_s)

    def wait_until_login_may_fail(self, host: HostEntry) -> None:
        """Wait until a failed login would not make the server lock out the controller.

        Call the method before a login that can succeed or fail. The method records no penalty. If
        the login fails, call `add_failed_login`, which records the penalty.
        """
        if settings := self.get_settings(host):
            _pause(self.calculate_wait_s(host, settings.failed_login_s))

    def add_failed_login(self, host: HostEntry) -> None:
        """Record the penalty in seconds that the SSH server has given for a failed login."""
        if settings := self.get_settings(host):
            self._add_penalty(host, settings.failed_login_s)

    def calculate_wait_s(self, host: HostEntry, seconds: float) -> float:
        """Calculate how many seconds to wait before an action that the SSH server penalizes.

        Without the wait, the sum of the penalties could become so large that the server refuses all
        connections of the controller (the lock-out).

        Args:
            host: The host with the SSH server.
            seconds: The penalty that the server gives for the action, in s.

        Returns:
            The time to wait in s; 0 if no lock-out can occur.
        """
        settings = self.get_settings(host)
        if settings is None:
            return 0.0
        with self._open_expiry_times() as expiry_times:
            return _calculate_wait_s(expiry_times, host, settings, seconds)

    def _wait(self, host: HostEntry, settings: PenaltySettings, seconds: float) -> None:
        """Wait before an action for which the SSH server gives a penalty of `seconds`.

        The action is a failed login or a connection without a login. Without the wait, the sum of
        the penalties could become so large that the server refuses all connections of the
        controller. The method records the penalty before the wait. The ledger file is locked while
        the method calculates the wait and records the penalty, so that no other process can record
        a penalty in between.
        """
        with self._open_expiry_times() as expiry_times:
            wait_s = _calculate_wait_s(expiry_times, host, settings, seconds)
            expiry = max(time.time() + wait_s, expiry_times.get(_get_server(host), 0.0))
            expiry_times[_get_server(host)] = expiry + seconds
        _pause(wait_s)

    def _add_penalty(self, host: HostEntry, seconds: float) -> None:
        with self._open_expiry_times() as expiry_times:
            expiry = max(time.time(), expiry_times.get(_get_server(host), 0.0))
            expiry_times[_get_server(host)] = expiry + seconds

    @contextmanager
    def _open_expiry_times(self) -> Iterator[dict[str, float]]:
        """Yield the time at which the penalties of each server expire; save changes at the end.

        The times are on the clock of `time.time`.
        """
        with self._lock:
            file = self.file or paths.get_state_folder() / LEDGER_FILE
            try:
                file.parent.mkdir(parents=True, exist_ok=True)
                stream = os.fdopen(os.open(file, os.O_RDWR | os.O_CREAT, 0o600), "r+")
            except OSError:
                yield self._own_expiry_times
                return
            with stream:
                fcntl.flock(stream, fcntl.LOCK_EX)
                expiry_times = _read_expiry_times(stream)
                yield expiry_times
                stream.seek(0)
                stream.truncate()
                json.dump(expiry_times, stream)


def _calculate_wait_s(
    expiry_times: Mapping[str, float], host: HostEntry, settings: PenaltySettings, seconds: float
) -> float:
    running_s = max(0.0, expiry_times.get(_get_server(host), 0.0) - time.time())
    return max(0.0, running_s + seconds + MARGIN_SECONDS - settings.minimum_s)


def _pause(seconds: float) -> None:
    if seconds > 0:
        Deadline(seconds + 1).pause(seconds)


def _read_expiry_times(stream: IO[str]) -> dict[str, float]:
    """Read the time at which the penalties of each SSH server expire, by ``ADDRESS:PORT``.

    A server gives a penalty in seconds for a failed login or an unused connection.

    Times in the past are left out. Times more than `MAX_PENALTY_SECONDS` in the future are wrong
    and are left out too. Such a time can occur if somebody sets the clock of the controller back.
    A damaged file counts as an empty file.
    """
    try:
        values = dict(json.load(stream))
    except (ValueError, TypeError):
        return {}
    now = time.time()
    return {
        str(server): float(expiry)
        for server, expiry in values.items()
        if isinstance(expiry, int | float) and now < expiry <= now + MAX_PENALTY_SECONDS
    }


LEDGER = PenaltyLedger()


def _get_server(host: HostEntry) -> str:
    return f"{host.address}:{host.port}"
