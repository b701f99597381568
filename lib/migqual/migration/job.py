"""The blocking call of a migration, and what libvirt is asked for while it lasts."""

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from migqual.deadline import Deadline
from migqual.errors import (
    GuestError,
    HostError,
    InconclusiveError,
    MigrationStuck,
    StackError,
)
from migqual.hosts.guest import Guest

AGAIN_SECONDS = 1.0  # from an answer of libvirt to the same request once more
GRACE_SECONDS = 60.0  # from the first abort; libvirt waits for a lock for half of it
# from the request for post-copy to an abort: a migration that is cancelled just when it goes over
# leaves the guest paused at the source; later libvirt refuses
SWITCH_SECONDS = 15.0
LOOK_SECONDS = 0.05


@dataclass
class Request:
    """Something asked of libvirt, once a second at most. `refusal` is its last answer in words;
    empty when it did what it was asked for."""

    tries: int = 0
    refusal: str = ""
    _pause: Deadline = field(default_factory=lambda: Deadline(0.0))

    @property
    def granted(self) -> bool:
        return self.tries > 0 and not self.refusal

    def make(self, act: Callable[[], None]) -> bool:
        """Ask, unless it was asked just now. Whether it was asked."""
        if not self._pause.passed:
            return False
        self.tries += 1
        try:
            act()
            self.refusal = ""
        except (HostError, GuestError) as error:
            self.refusal = error.message
        self._pause = Deadline(AGAIN_SECONDS)
        return True


@dataclass
class Job:
    """The blocking call in a thread of its own, and what became of it.

    error  the stack's, when it did not succeed
    crash  any other exception: raised again by `raise_crash`
    """

    work: Callable[[], Any]
    done: threading.Event = field(default_factory=threading.Event)
    error: StackError | None = None
    crash: Exception | None = None
    ended: float = 0.0
    _abort: Request = field(default_factory=Request)
    _grace: Deadline | None = None
    _hold: Deadline = field(default_factory=lambda: Deadline(0.0))

    @property
    def succeeded(self) -> bool:
        return self.done.is_set() and self.error is None and self.crash is None

    def start(self) -> None:
        threading.Thread(target=self._run, name="migration", daemon=True).start()

    def _run(self) -> None:
        try:
            self.work()
        except StackError as error:
            self.error = error
        except Exception as error:  # noqa: BLE001 - whoever waits for the job raises it
            self.crash = error
        finally:
            self.ended = time.monotonic()
            self.done.set()

    def raise_crash(self) -> None:
        if self.crash is not None:
            raise self.crash

    def switches(self) -> None:
        """It goes over to post-copy from now on."""
        self._hold = Deadline(SWITCH_SECONDS)

    def abort(self, guest: Guest) -> None:
        """virDomainAbortJob. To be called until the job is over: libvirt may refuse, or come to it
        late. When the job outlives the grace: raises `InconclusiveError` with libvirt's words when
        it refuses, `MigrationStuck` when it took the last abort and nothing came of it."""
        if not self._hold.passed:
            return
        if self._grace is None:
            self._grace = Deadline(GRACE_SECONDS)
        if self._grace.passed:
            self._give_up(guest)

        def cancel() -> None:
            guest.domain.abort_job()

        self._abort.make(cancel)

    def stop(self, guest: Guest) -> None:
        """Abort, and wait until it is over or the grace has passed."""
        with suppress(InconclusiveError, MigrationStuck):
            while not self.done.wait(LOOK_SECONDS):
                self.abort(guest)

    def _give_up(self, guest: Guest) -> None:
        words = (
            f"{guest.name}: the migration goes on {GRACE_SECONDS:g} s after the first of "
            f"{self._abort.tries} aborts: {self._abort.refusal or 'libvirt took them'}"
        )
        remedy = "look at `virsh domjobinfo` on the source; destroying the guest ends it"
        if self._abort.granted:
            raise MigrationStuck(words, remedy=remedy)
        raise InconclusiveError(words, remedy=remedy)
