"""Run libvirt's blocking migration call in a thread, and send requests to libvirt meanwhile."""

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from migqual.deadline import Deadline
from migqual.errors import GuestError, HostError, InconclusiveError, MigrationStuck, StackError
from migqual.hosts import domain_job
from migqual.hosts.guest import Guest

RETRY_SECONDS = 1.0  # from libvirt's reply to a request until the request is repeated
ABORT_GRACE_SECONDS = 60.0  # from the first abort; libvirt may wait 30 s for a lock
# Time after the request for post-copy in which no abort is sent. A migration aborted during the
# switch to post-copy can leave the guest paused at the source. After the switch, libvirt refuses
# the abort.
POSTCOPY_SWITCH_SECONDS = 15.0
POLL_SECONDS = 0.05


@dataclass
class LibvirtRequest:
    """A request to libvirt, for example to abort a migration, repeated at most once a second.

    Attributes:
        attempts: Number of times that the request was sent.
        refusal: libvirt's error message for the last attempt; empty when libvirt accepted the
            request.
    """

    attempts: int = 0
    refusal: str = ""
    _retry_deadline: Deadline = field(default_factory=lambda: Deadline(0.0))

    @property
    def is_accepted(self) -> bool:
        """Return whether libvirt accepted the last attempt to send the request."""
        return self.attempts > 0 and not self.refusal

    def send(self, action: Callable[[], None]) -> bool:
        """Send the request to libvirt, at most once a second.

        Callers may call the method in a loop. In the first second after each reply of libvirt, the
        method sends nothing.

        Args:
            action: The libvirt call that sends the request. If the call raises a `HostError` or
                `GuestError`, the error message is stored as `refusal`.

        Returns:
            Whether the request was sent.
        """
        if not self._retry_deadline.is_over:
            return False
        self.attempts += 1
        try:
            action()
            self.refusal = ""
        except (HostError, GuestError) as error:
            self.refusal = error.message
        self._retry_deadline = Deadline(RETRY_SECONDS)
        return True


@dataclass
class Job:
    """A blocking migration call of libvirt in a separate thread, and the result of the call.

    Attributes:
        migrate_call: The blocking call.
        finished: Event that is set when the call ends.
        error: Error of libvirt or QEMU; None without such an error.
        unexpected_error: Exception of the call that is no `StackError`;
            `raise_unexpected_error` raises the exception again.
        ended_at: End of the call in seconds of the monotonic clock.
    """

    migrate_call: Callable[[], Any]
    finished: threading.Event = field(default_factory=threading.Event)
    error: StackError | None = None
    unexpected_error: Exception | None = None
    ended_at: float = 0.0
    _abort_request: LibvirtRequest = field(default_factory=LibvirtRequest)
    _abort_deadline: Deadline | None = None
    _postcopy_deadline: Deadline = field(default_factory=lambda: Deadline(0.0))

    @property
    def has_succeeded(self) -> bool:
        """Return whether the call ended without an error."""
        return self.finished.is_set() and self.error is None and self.unexpected_error is None

    def start(self) -> None:
        """Start the migration call in a thread."""
        threading.Thread(target=self._run_call, name="migration", daemon=True).start()

    def _run_call(self) -> None:
        try:
            self.migrate_call()
        except StackError as error:
            self.error = error
        except Exception as error:  # noqa: BLE001 - `raise_unexpected_error` raises the error
            self.unexpected_error = error
        finally:
            self.ended_at = time.monotonic()
            self.finished.set()

    def raise_unexpected_error(self) -> None:
        """Raise the unexpected exception of the call. Without such an exception, do nothing."""
        if self.unexpected_error is not None:
            raise self.unexpected_error

    def defer_abort(self) -> None:
        """Ignore abort requests for 15 s, because the migration switches to post-copy now."""
        self._postcopy_deadline = Deadline(POSTCOPY_SWITCH_SECONDS)

    def request_abort(self, guest: Guest) -> None:
        """Request an abort of the migration (virDomainAbortJob).

        Call the method repeatedly until the job ends, because libvirt can refuse an abort or
        act late. The grace period of 60 s begins with the first request.

        Args:
            guest: The migrating guest.

        Raises:
            InconclusiveError: The job still runs after the grace period, and libvirt refused the
                last abort. The error holds libvirt's message.
            MigrationStuck: The job still runs after the grace period, although libvirt accepted
                the last abort.
        """
        if not self._postcopy_deadline.is_over:
            return
        if self._abort_deadline is None:
            self._abort_deadline = Deadline(ABORT_GRACE_SECONDS)
        if self._abort_deadline.is_over:
            self._raise_abort_failure(guest)

        def abort_job() -> None:
            domain_job.abort_job(guest.domain)

        self._abort_request.send(abort_job)

    def abort_and_wait(self, guest: Guest) -> None:
        """Abort the job, and wait until the job ends or the grace period of 60 s is over."""
        with suppress(InconclusiveError, MigrationStuck):
            while not self.finished.wait(POLL_SECONDS):
                self.request_abort(guest)

    def _raise_abort_failure(self, guest: Guest) -> None:
        message = (
            f"{guest.name}: the migration still runs {ABORT_GRACE_SECONDS:g} s after the first of "
            f"{self._abort_request.attempts} aborts: "
            f"{self._abort_request.refusal or 'libvirt accepted the last abort'}"
        )
        remedy = (
            f"see the migration with `virsh domjobinfo {guest.name}` on {guest.host.name}, or end "
            f"the migration and the guest with `virsh destroy {guest.name}`"
        )
        if self._abort_request.is_accepted:
            raise MigrationStuck(message, remedy=remedy)
        raise InconclusiveError(message, remedy=remedy)
