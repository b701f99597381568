"""A migration that ended without moving the guest is over for the source's QEMU, too."""

from migqual.deadline import Deadline
from migqual.errors import HostError, TimedOut
from migqual.hosts.guest import Guest
from migqual.model.outcome import Outcome, Status

LET_GO_SECONDS = 30.0
LOOK_SECONDS = 0.1
STAYED = {Status.REFUSED, Status.FAILED, Status.TIMED_OUT, Status.ABORTED}


def complaints(guest: Guest, outcome: Outcome) -> list[str]:
    """Whether the guest's QEMU still holds on to a migration that libvirt told the end of.

    QEMU counts it among the connections that it can break (QMP `query-yank`, since 6.0) until its
    migration thread has ended; a thread that waits for senders that are gone never ends, and QEMU
    takes no other migration. A post-copy that failed is kept on purpose: it can be resumed.
    """
    if outcome.status not in STAYED or outcome.went_postcopy:
        return []
    monitor = guest.domain.monitor

    def let_go() -> bool:
        return all(one["type"] != "migration" for one in monitor("query-yank"))

    try:
        if "query-yank" in {one["name"] for one in monitor("query-commands")}:
            Deadline(LET_GO_SECONDS).wait_for("an end", let_go, interval=LOOK_SECONDS)
    except HostError as error:
        return [f"QEMU of {guest.name} does not say whether it let go of it: {error.message}"]
    except TimedOut:
        words = (
            f"{LET_GO_SECONDS:g} s after the end of the migration ({outcome.status}) the source's "
            f"QEMU still holds on to it (query-yank): its migration thread hangs, and {guest.name} "
            "cannot be migrated again"
        )
        return [words]
    return []
