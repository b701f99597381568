"""A migration as it should be done: the guard first, then the storage, then the move."""

from collections.abc import Iterator
from contextlib import contextmanager

from migqual.deadline import Deadline
from migqual.errors import HostError, TimedOut
from migqual.hosts.guest import Guest
from migqual.hosts.host import Host
from migqual.migration import images
from migqual.migration.follow import OnSample
from migqual.migration.run import OnBrokenOff, migrate
from migqual.model.outcome import Outcome
from migqual.model.plan import Guard, Images, Plan, StorageCopy
from migqual.preflight import collect
from migqual.preflight.checks import run_storage_checks
from migqual.preflight.collect import Move
from migqual.preflight.run import guard
from migqual.preflight.tools import Tools
from migqual.steps import timed

SETTLE_SECONDS = 3.0  # in which a destination gives up a guest that did not arrive


def move(
    guest: Guest,
    destination: Host,
    plan: Plan,
    tools: Tools,
    *,
    on_sample: OnSample | None = None,
    on_broken_off: OnBrokenOff | None = None,
) -> Outcome:
    """Migrate `guest`; its disks too, where the plan says so.

    Raises `GuardRefusal` before anything is touched, `HostError` when an image could not be made,
    and what `migrate` raises. Where it raises, no image that was made for it is left, unless the
    guest is at the destination all the same.
    """
    with prepared(guest, destination, plan, tools), timed("migrate"):
        return migrate(guest, destination, plan, on_sample=on_sample, on_broken_off=on_broken_off)


@contextmanager
def prepared(guest: Guest, destination: Host, plan: Plan, tools: Tools) -> Iterator[None]:
    """The destination's images of the disks that are copied; they stay if the block succeeds.

    They belong to the guest then, and go with it. They also stay where the block fails and the
    guest is at the destination all the same.
    """
    if plan.copy_storage is StorageCopy.NONE:
        yield
        return
    if plan.guard is Guard.OFF and plan.images is Images.PRESENT:
        yield
        return
    with timed("guard and prepare storage"):
        storage = collect.storage(Move(guest.name, guest.host, destination, plan), tools)
        if plan.guard is Guard.ON:
            guard(run_storage_checks(storage))
        made = images.make(destination, images.recipes(storage), tools.journal)
    try:
        yield
    except BaseException:
        if _may_be_at(destination, guest):
            guest.keep(made)
        else:
            images.remove(destination, made, tools.journal)
        raise
    guest.keep(made)


def _may_be_at(host: Host, guest: Guest) -> bool:
    """Whether the guest is there, or that cannot be found out. A migration may be told to have
    failed, or be interrupted, while the guest arrives: its images must stay then."""

    def left() -> bool:
        domain = host.libvirt.lookup(guest.name)
        return domain is None or domain.state() in {"off", "gone"}

    try:
        return not Deadline(SETTLE_SECONDS).wait_for(f"{guest.name} to leave", left)
    except (HostError, TimedOut):
        return True
