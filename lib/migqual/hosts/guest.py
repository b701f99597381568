"""A guest that runs on one of our hosts, and the commands to its payload."""

import threading
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from secrets import token_hex
from typing import Any

from migqual.deadline import Deadline
from migqual.errors import GuestError, HostError, TimedOut
from migqual.hosts.channel import open_channel
from migqual.hosts.domain import Domain
from migqual.hosts.host import Host
from migqual.hosts.journal import Made
from migqual.hosts.volume import Volume
from migqual.model.guest import GuestSpec

MEMORY = "witness"
PAYLOAD_SECONDS = 15.0
SERVING_SECONDS = 1.0


@dataclass
class Guest:
    """A guest of ours. `host` is where it runs: `moved` says so after a migration.

    address  the first service NIC's, which the client watches
    made     journal entries of everything that belongs to it, in the order they were made
    prefix   length of the address's network part
    saved_macs  of a guest that was restored and has no identity yet: the MACs that its NICs have
    """

    name: str
    uuid: str
    spec: GuestSpec
    host: Host
    address: str
    macs: tuple[str, ...]
    volumes: tuple[Volume, ...] = ()
    made: list[Made] = field(default_factory=list)
    console: str = ""
    boot_id: str = ""
    marker: str = ""
    prefix: int = 0
    saved_macs: tuple[str, ...] = ()
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    @property
    def domain(self) -> Domain:
        """Its domain where it runs now. Raises `GuestError` when there is none."""
        found = self.host.libvirt.lookup(self.name)
        if found is None:
            raise GuestError(f"{self.name}: not on {self.host.name}")
        return found

    def keep(self, made: Iterable[Made]) -> None:
        """Take along what was made for it: that goes once the domain is gone, and not before."""
        first = next((n for n, one in enumerate(self.made) if one.kind == "domain"), len(self.made))
        self.made[first:first] = made

    def moved(self, host: Host) -> None:
        self.host = host

    def state(self) -> str:
        found = self.host.libvirt.lookup(self.name)
        return "gone" if found is None else found.state()

    def wait_ready(self, deadline: Deadline) -> None:
        """Until the guest agent answers. Raises `GuestError` with the end of its console."""
        domain = self.domain

        def answers() -> bool:
            try:
                domain.agent("guest-ping", seconds=1)
            except GuestError:
                if domain.state() not in {"running", "paused"}:
                    raise
                return False
            return True

        try:
            deadline.wait_for(f"{self.name}: the guest agent", answers, interval=0.05)
        except TimedOut as error:
            raise GuestError(
                f"{error.message}\n{self.console_tail()}",
                remedy="the guest's console log is in the evidence",
            ) from error

    def wait_serving(self, deadline: Deadline) -> None:
        """Until the payload answers. In an image of one's own the agent comes up before it."""

        def serves() -> bool:
            try:
                self.payload("status", seconds=SERVING_SECONDS)
            except (GuestError, TimedOut):
                return False
            return True

        deadline.wait_for(f"{self.name}: the payload", serves, interval=0.1)

    def console_tail(self, lines: int = 20) -> str:
        done = self.host.shell.attempt("tail", "-n", str(lines), self.console)
        return done.stdout or done.stderr

    def payload(self, *words: str, seconds: float = PAYLOAD_SECONDS) -> dict[str, Any]:
        """Run one command of the payload; return its JSON answer.

        Raises `GuestError` with the payload's words when it refuses.
        """
        return self.run_commands([words], seconds=seconds)[0]

    def run_commands(
        self, commands: Sequence[Sequence[str]], *, seconds: float = PAYLOAD_SECONDS
    ) -> list[dict[str, Any]]:
        """Run commands of the payload one after the other, up to the first that it refuses.

        Returns the JSON answer to each. Raises `GuestError` with the payload's words for the one
        that it refuses, or when the guest does not run; `TimedOut` when it does not answer.
        """
        deadline = Deadline(seconds)
        lines = [" ".join(command) for command in commands]
        name = f"{self.name} on {self.host.name}"
        with self._lock:
            domain = self.domain
            if (state := domain.state()) != "running":
                raise GuestError(f"{name} is {state}: {'; '.join(lines)}")
            with open_channel(domain.raw, name) as channel:
                answers = channel.request(lines, deadline)
        if not answers[-1]["ok"]:
            raise GuestError(f"{name}: payload {lines[len(answers) - 1]}: {answers[-1]['error']}")
        return answers

    def status(self) -> dict[str, Any]:
        """boot_id, uptime_ms, regions, disks and counters."""
        return self.payload("status")

    def devices_of_disks(self) -> dict[str, str]:
        """Target name of every disk that is written to, and its device path in the guest."""
        return {target: f"/dev/{target}" for target in self.spec.written()}

    def start_load(self) -> None:
        """Fill the witness pages and start the stamped writers, as the spec says."""
        disks = [
            ("disk", "start", target, f"device={device}", *self.spec.load.disk.words)
            for target, device in self.devices_of_disks().items()
        ]
        memory = ("memory", "start", MEMORY, *self.spec.load.memory.words)
        answers = self.run_commands([*self._identity_commands(), memory, *disks, ("status",)])
        self.marker = str(answers[-2 - len(disks)]["marker"])
        self.boot_id = str(answers[-1]["boot_id"])
        self.saved_macs = ()

    def _identity_commands(self) -> list[tuple[str, ...]]:
        """The command that gives a restored guest an identity; none for one that booted."""
        if not self.saved_macs:
            return []
        addresses = [f",{self.address}/{self.prefix}"] + [""] * (len(self.macs) - 1)
        nics = [
            f"nic{number}={old},{new}{address}"
            for number, (old, new, address) in enumerate(
                zip(self.saved_macs, self.macs, addresses, strict=True)
            )
        ]
        words = (
            f"id={token_hex(16)}",
            f"seed={token_hex(32)}",
            f"unix_ms={time.time() * 1000:.0f}",
        )
        return [("identity", *words, *nics)]

    def live_copies(self, hosts: tuple[Host, ...]) -> dict[str, str]:
        """State of the guest on each of `hosts` where it is there at all."""
        found = {}
        for host in hosts:
            domain = host.libvirt.lookup(self.name)
            if domain is not None:
                found[host.name] = domain.state()
        return found


def require_running(guest: Guest) -> None:
    """Raises `HostError` when the guest does not run where it should."""
    state = guest.state()
    if state != "running":
        raise HostError(guest.host.name, f"{guest.name} is {state}, not running")
