"""Pure checks of the hosts and what lies between them: LM-PRE-01, -05, LM-RES-09, -10, -11."""

from collections.abc import Iterator

from migqual.model.finding import Finding
from migqual.model.plan import Control
from migqual.preflight.facts import Channel, HostCpu, Login, Missing, Reach, Seen
from migqual.preflight.verdicts import ok, refused, unknown, warning

_MIGRATION_REMEDY = {
    Channel.CONTROL: "open the port of libvirt's URI between the hosts",
    Channel.DATA: "open the migration ports (49152-49215) between the hosts' migration addresses",
    Channel.LIBVIRT: "let root of each host log in at the other with a key, and try the command "
    "virsh -c URI hostname there",
}
# CPUs that are the host's own
_OWN = {"host-passthrough", "host-model", "maximum"}


def control_port(seen: Seen) -> Iterator[Finding]:
    yield from _reached(seen, Channel.CONTROL, "LM-PRE-01.control", "libvirt's port")


def data_port(seen: Seen) -> Iterator[Finding]:
    yield from _reached(seen, Channel.DATA, "LM-PRE-01.data", "a migration port")


def libvirt(seen: Seen) -> Iterator[Finding]:
    """Only a peer-to-peer migration has one host speak to the other's libvirt."""
    name = "LM-PRE-01.libvirt"
    if seen.plan.control is Control.DIRECT:
        yield ok(name, "managed direct: the hosts need not reach each other's libvirt")
    else:
        yield from _reached(seen, Channel.LIBVIRT, name, "libvirt")


def _reached(seen: Seen, channel: Channel, name: str, what: str) -> Iterator[Finding]:
    tried = [reach for reach in seen.reaches if reach.channel is channel]
    cut = [reach for reach in tried if reach.passed is False]
    open_ = [reach for reach in tried if reach.passed is True]
    figures = {f"{r.origin}_to_{r.target}": f"{r.place}: {r.words or 'passed'}" for r in tried}
    if cut:
        told = "; ".join(f"{r.origin} to {r.target} ({r.place}): {r.words}" for r in cut)
        yield refused(name, f"{what} does not pass: {told}", _MIGRATION_REMEDY[channel], **figures)
    elif len(open_) == 2:
        yield ok(name, f"{what} passes both ways", **figures)
    else:
        yield unknown(name, f"whether {what} passes both ways", _why(tried))


def _why(tried: list[Reach]) -> Missing:
    for reach in tried:
        if isinstance(reach.passed, Missing):
            return reach.passed
    return Missing("not tried both ways")


def host_cpus(seen: Seen) -> Iterator[Finding]:
    name = "LM-RES-09.hosts"
    ours, theirs = seen.source.cpu, seen.destination.cpu
    if isinstance(ours, Missing) or isinstance(theirs, Missing):
        missing = ours if isinstance(ours, Missing) else theirs
        if isinstance(missing, Missing):
            yield unknown(name, "whether both hosts have one CPU model", missing)
        return
    compared = seen.host_cpus
    words = "not compared by libvirt" if isinstance(compared, Missing) else " and ".join(compared)
    figures = {
        seen.source.name: ours.hardware,
        seen.destination.name: theirs.hardware,
        "compared": words,
    }
    alike = isinstance(compared, Missing) or set(compared) == {"identical"}
    if ours.hardware == theirs.hardware and alike:
        yield ok(name, f"both hosts have the same CPU, {ours.name}", **figures)
    elif seen.definition.cpu_mode not in _OWN and seen.offer.has_cpu:
        yield warning(
            name,
            f"{_differ(seen, ours, theirs)}; the guest's own CPU model exists on both",
            "pair hosts of one CPU model",
            **figures,
        )
    else:
        yield refused(
            name,
            _differ(seen, ours, theirs),
            "pair hosts of one CPU model, or give the guest a model that both have",
            **figures,
        )


def _differ(seen: Seen, ours: HostCpu, theirs: HostCpu) -> str:
    lost = sorted(ours.flags - theirs.flags)
    told = f" (lacks {', '.join(lost[:8])})" if lost else ""
    there = f"{seen.destination.name} {theirs.name}{told}"
    return f"CPUs differ: {seen.source.name} has {ours.name}, {there}"


def guest_cpu(seen: Seen) -> Iterator[Finding]:
    name, found = "LM-RES-09.guest", seen.offer.cpu
    model = seen.definition.cpu_model or seen.definition.cpu_mode or "the default CPU"
    if isinstance(found, Missing):
        yield unknown(name, f"whether the destination can offer {model}", found)
    elif seen.offer.has_cpu:
        yield ok(name, f"the destination offers the guest's CPU, {model}", compared=found)
    else:
        yield refused(
            name,
            f"the destination cannot offer the guest's CPU, {model}: {found}",
            "choose a destination with these features, or give the guest a smaller model",
            compared=found,
        )


def segment(seen: Seen) -> Iterator[Finding]:
    name = "LM-RES-10.segment"
    if not seen.segments:
        yield ok(name, "the guest has no service interface")
    for one in seen.segments:
        label = one.nic.source or one.nic.type
        if isinstance(one.passed, Missing):
            yield unknown(name, f"whether {label} is one segment on both hosts", one.passed)
        elif one.passed:
            yield ok(name, f"frames pass between {label} of both hosts, both ways")
        else:
            yield refused(
                name,
                f"{label} is not one segment: frames do not pass between "
                f"{seen.source.name} and {seen.destination.name}",
                "connect the service bridges of both hosts to one layer-2 network",
            )


def cpus(seen: Seen) -> Iterator[Finding]:
    name, need, have = "LM-RES-11.cpus", seen.definition.vcpus, seen.destination.cpus
    words = f"the guest has {need} vCPUs, {seen.destination.name} {have} CPUs"
    if have >= need:
        yield ok(name, words, needed=need, available=have)
    else:
        remedy = "choose a destination with more CPUs; here the guest will be slower"
        yield warning(name, words, remedy, needed=need, available=have)


def key(login: Login) -> Iterator[Finding]:
    name = "LM-PRE-05.key"
    if login.key is True:
        yield ok(name, f"{login.host} lets our key in")
    else:
        why = login.key.why if isinstance(login.key, Missing) else "the login failed"
        remedy = "put the public key into the host's authorized_keys, its host key into known_hosts"
        yield refused(name, f"{login.host} does not let us in: {why}", remedy)


def password(login: Login) -> Iterator[Finding]:
    name, methods = "LM-PRE-05.password", login.methods
    if isinstance(methods, Missing):
        yield unknown(name, f"whether {login.host} takes passwords", methods)
    elif methods & {"password", "keyboard-interactive", "none"}:
        offered = ", ".join(sorted(methods))
        yield refused(
            name,
            f"{login.host} offers logins without a key: {offered}",
            "set PasswordAuthentication no and KbdInteractiveAuthentication no in sshd_config",
            offered=offered,
        )
    else:
        yield ok(name, f"{login.host} takes no password")


def wrong_key(login: Login) -> Iterator[Finding]:
    name, taken = "LM-PRE-05.wrong-key", login.wrong_key
    if isinstance(taken, Missing):
        yield unknown(name, f"whether {login.host} turns strangers away", taken)
    elif taken:
        yield refused(
            name,
            f"{login.host} let a key in that was made a moment ago",
            "look at AuthorizedKeysCommand and PAM of its SSH server",
        )
    else:
        yield ok(name, f"{login.host} turns a wrong key away")


def host_key(login: Login) -> Iterator[Finding]:
    name, greeted = "LM-PRE-05.host-key", login.unknown_host
    if isinstance(greeted, Missing):
        yield unknown(name, f"whether we refuse {login.host} when its key is unknown", greeted)
    elif greeted:
        yield refused(
            name,
            f"we logged in at {login.host} without knowing its host key",
            "remove what overrides the inventory's known_hosts",
        )
    else:
        yield ok(name, f"{login.host} is refused when its host key is unknown")
