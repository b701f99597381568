"""Pure checks of the guest itself: LM-PRE-03."""

from collections.abc import Iterator

from migqual.model.finding import Finding
from migqual.preflight.facts import Agent, Missing, Seen
from migqual.preflight.verdicts import ok, refused, unknown, warning


def running(seen: Seen) -> Iterator[Finding]:
    name, state = "LM-PRE-03.running", seen.health.state
    if state == "running":
        yield ok(name, f"{seen.guest} runs", state=state)
    else:
        yield refused(
            name,
            f"{seen.guest} is {state}, not running",
            "start or resume the guest, or move its definition and images while it is off",
            state=state,
        )


def job(seen: Seen) -> Iterator[Finding]:
    name, found = "LM-PRE-03.job", seen.health.job
    if isinstance(found, Missing):
        yield unknown(name, "whether a job runs", found)
    elif found == "none":
        yield ok(name, "no job is active")
    else:
        yield refused(
            name,
            f"a job is active: {found}",
            f"wait for it, or end it: virsh domjobabort {seen.guest}",
            job=found,
        )


def agent(seen: Seen) -> Iterator[Finding]:
    name, found = "LM-PRE-03.agent", seen.health.agent
    if isinstance(found, Missing):
        yield unknown(name, "whether the guest agent answers", found)
    elif found is Agent.ANSWERS:
        yield ok(name, "the guest agent answers")
    elif found is Agent.SILENT:
        yield refused(
            name,
            "the guest agent does not answer",
            "look whether the guest hangs; restart qemu-guest-agent in it",
        )
    else:
        yield warning(
            name,
            "the guest has no channel for a guest agent, so nobody can ask how it is",
            "add a channel org.qemu.guest_agent.0 and install qemu-guest-agent",
        )


def disks(seen: Seen) -> Iterator[Finding]:
    name, found = "LM-PRE-03.disks", seen.health.disk_errors
    if isinstance(found, Missing):
        yield unknown(name, "whether disks had I/O errors", found)
    elif not found:
        yield ok(name, "no disk reports an I/O error")
    else:
        told = "; ".join(f"{target}: {words}" for target, words in sorted(found.items()))
        yield refused(
            name,
            f"disks report I/O errors: {told}",
            "mend the store first; counts of failures start again when the guest is restarted",
            **dict(found),
        )


def devices(seen: Seen) -> Iterator[Finding]:
    name, found = "LM-PRE-03.devices", seen.health.qemu_blockers
    own = () if isinstance(found, Missing) else found
    blockers = (*seen.definition.blockers, *own)
    if blockers:
        yield refused(
            name,
            f"the guest cannot leave its host: {'; '.join(blockers)}",
            "detach these devices for the time of the migration",
            blockers=len(blockers),
        )
    elif isinstance(found, Missing):
        yield unknown(name, "whether QEMU objects to a migration", found)
    else:
        yield ok(name, "no device ties the guest to its host", blockers=0)
