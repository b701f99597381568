"""Query and control a guest on a host, and send commands to migqual's program in the guest."""

import threading
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from secrets import token_hex
from typing import Any

from migqual.deadline import Deadline
from migqual.errors import GuestError, HostError, TimedOut
from migqual.hosts.domain import Domain, DomainState
from migqual.hosts.host import Host
from migqual.hosts.journal import Argv, JournalEntry
from migqual.hosts.payload_channel import open_payload_channel
from migqual.hosts.volume import Volume
from migqual.model.guest_spec import GuestSpec

CONSOLE_LOG_FOLDER = PurePosixPath("/var/log/libvirt/qemu")
_REMOVE_FOLDERS_SCRIPT = """\
for folder in /var/lib/libvirt/qemu /var/lib/libvirt/qemu/channel/target; do
    rm -rf -- "$folder"/domain-*-"$1"
done
"""
NVRAM_FOLDER = PurePosixPath("/var/lib/libvirt/qemu/nvram")
CHECKED_REGION = "witness"
PAYLOAD_SECONDS = 15.0
PAYLOAD_PROBE_SECONDS = 1.0


@dataclass
class Guest:
    """A guest made by migqual.

    Attributes:
        host: The host on which the guest runs. `set_host` updates the field after a migration.
        address: IP address of the first NIC. The gap meter sends probes to the address.
        journal_entries: Journal entries of all resources of the guest, in the order of
            creation.
        console_log: Path of the guest's console log on the host.
        boot_id: Boot id that the guest had when the guest load started.
        memory_marker: Random bytes as hex digits. The bytes are in every page of the memory region
            that migqual checks after a migration.
        prefix_length: Number of bits in the network part of `address`.
        saved_macs: MAC addresses in the saved state from which the guest was restored. Empty for
            a booted guest, and after `start_load`.
    """

    name: str
    uuid: str
    spec: GuestSpec
    host: Host
    address: str
    macs: tuple[str, ...]
    volumes: tuple[Volume, ...] = ()
    journal_entries: list[JournalEntry] = field(default_factory=list)
    console_log: str = ""
    boot_id: str = ""
    memory_marker: str = ""
    prefix_length: int = 0
    saved_macs: tuple[str, ...] = ()
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    @property
    def domain(self) -> Domain:
        """Return the domain of the guest on the current host.

        Raises:
            GuestError: The host has no domain of the guest.
        """
        domain = self.host.libvirt.find_domain(self.name)
        if domain is None:
            raise GuestError(f"{self.host.name} has no domain {self.name}")
        return domain

    def build_undo_commands(self) -> list[Argv]:
        """Build the commands that remove the files of the guest that libvirt leaves on a host.

        The files are logs and UEFI variables. After a power failure, libvirt also leaves the
        folders of the guest, whose names contain the id and the name of the domain.
        """
        nvram_files = (
            str(NVRAM_FOLDER / f"{self.name}_VARS.{suffix}") for suffix in ("fd", "qcow2")
        )
        log_files = (self.console_log, str(CONSOLE_LOG_FOLDER / f"{self.name}.log"))
        return [
            ("rm", "-f", "--", *log_files, *nvram_files),
            ("sh", "-c", _REMOVE_FOLDERS_SCRIPT, "sh", self.name),
        ]

    def add_journal_entries(self, entries: Iterable[JournalEntry]) -> None:
        """Add journal entries to the guest, before the entry of the guest's domain.

        Cleanup removes the resources from the last to the first entry. The resources of
        `entries` are therefore removed after the domain.
        """
        domain_index = next(
            (index for index, entry in enumerate(self.journal_entries) if entry.kind == "domain"),
            len(self.journal_entries),
        )
        self.journal_entries[domain_index:domain_index] = entries

    def set_host(self, host: Host) -> None:
        """Set the current host of the guest, after a migration."""
        self.host = host

    def query_state(self) -> DomainState:
        """Return the guest's state on the current host, or `GONE` if the host has no such guest."""
        domain = self.host.libvirt.find_domain(self.name)
        return DomainState.GONE if domain is None else domain.query_state()

    def wait_for_agent(self, deadline: Deadline) -> None:
        """Wait until the guest agent answers.

        Raises:
            GuestError: The guest stops, or the agent does not answer before the deadline. In the
                second case, the error contains the last lines of the console log.
        """
        domain = self.domain

        def is_agent_answering() -> bool:
            try:
                domain.run_agent_command("guest-ping", seconds=1)
            except GuestError:
                if domain.query_state() not in {DomainState.RUNNING, DomainState.PAUSED}:
                    raise
                return False
            return True

        try:
            deadline.wait_for(
                f"the reply of the guest agent in {self.name}", is_agent_answering, interval_s=0.05
            )
        except TimedOut as error:
            raise GuestError(
                f"{error.message}\nend of the console log:\n{self.read_console_tail()}",
                remedy=f"read the console log of {self.name}, which is attached to the test result",
            ) from error

    def wait_for_payload(self, deadline: Deadline) -> None:
        """Wait until the payload, migqual's program in the guest, answers.

        In a guest with a system image (`GuestSpec.image`), the guest agent can answer earlier than
        the payload. So call this method after `wait_for_agent`.

        Raises:
            TimedOut: The payload does not answer before the deadline.
        """

        def is_payload_answering() -> bool:
            try:
                self.run_payload_command("status", seconds=PAYLOAD_PROBE_SECONDS)
            except (GuestError, TimedOut):
                return False
            return True

        deadline.wait_for(
            f"the reply of migqual-payload in {self.name}", is_payload_answering, interval_s=0.1
        )

    def read_console_tail(self, line_count: int = 20) -> str:
        """Return the last lines of the guest's console log, or the error message of `tail`."""
        result = self.host.shell.run_unchecked("tail", "-n", str(line_count), self.console_log)
        return result.stdout or result.stderr

    def run_payload_command(
        self, *arguments: str, seconds: float = PAYLOAD_SECONDS
    ) -> dict[str, Any]:
        """Run a command of the payload, migqual's program in the guest.

        Args:
            *arguments: Name and arguments of the command.
            seconds: Time limit for the reply.

        Returns:
            The decoded JSON reply.

        Raises:
            GuestError: The payload refuses the command (the error has the payload's message),
                or the guest does not run.
            TimedOut: The guest does not answer.
        """
        return self.run_payload_commands([arguments], seconds=seconds)[0]

    def run_payload_commands(
        self, commands: Sequence[Sequence[str]], *, seconds: float = PAYLOAD_SECONDS
    ) -> list[dict[str, Any]]:
        """Run commands of the payload (migqual's program in the guest) until a command is refused.

        Args:
            commands: Name and arguments of each command.
            seconds: Time limit for all replies together.

        Returns:
            The decoded JSON reply to each command.

        Raises:
            GuestError: The payload refuses a command (the error has the payload's message), or
                the guest does not run.
            TimedOut: The guest does not answer.
        """
        deadline = Deadline(seconds)
        command_lines = [" ".join(command) for command in commands]
        guest_label = f"{self.name} on {self.host.name}"
        with self._lock:
            domain = self.domain
            if (state := domain.query_state()) is not DomainState.RUNNING:
                raise GuestError(
                    f"{guest_label} is {state}: cannot run migqual-payload command "
                    f"`{'; '.join(command_lines)}`"
                )
            with open_payload_channel(domain.raw, guest_label) as channel:
                replies = channel.run_commands(command_lines, deadline)
        if not replies[-1]["ok"]:
            raise GuestError(
                f"{guest_label}: migqual-payload command `{command_lines[len(replies) - 1]}`: "
                f"{replies[-1]['error']}"
            )
        return replies

    def query_payload_status(self) -> dict[str, Any]:
        """Query the status of migqual's program in the guest.

        Returns:
            A dictionary with `boot_id`, `uptime_ms`, memory regions, disks and counters.
        """
        return self.run_payload_command("status")

    def map_disk_devices(self) -> dict[str, str]:
        """Return the disks that the guest load writes to: libvirt's target name and device path.

        For example, `{"vda": "/dev/vda"}`. The path is the path in the guest.
        """
        return {target: f"/dev/{target}" for target in self.spec.list_written_targets()}

    def start_load(self) -> None:
        """Start the memory writes and disk writes that the spec of the guest requests.

        If the guest was restored from a saved state (libvirt save file), the method first gives the
        guest a new boot id and new MAC and IP addresses. Then the method fills the memory region
        that migqual checks, starts the disk writers, and sets `memory_marker` and `boot_id`.
        """
        disk_commands = [
            ("disk", "start", target, f"device={device}", *self.spec.load.disk.payload_arguments)
            for target, device in self.map_disk_devices().items()
        ]
        memory_command = (
            "memory",
            "start",
            CHECKED_REGION,
            *self.spec.load.memory.payload_arguments,
        )
        replies = self.run_payload_commands(
            [*self._build_identity_commands(), memory_command, *disk_commands, ("status",)]
        )
        self.memory_marker = str(replies[-2 - len(disk_commands)]["marker"])
        self.boot_id = str(replies[-1]["boot_id"])
        self.saved_macs = ()

    def _build_identity_commands(self) -> list[tuple[str, ...]]:
        """Build the payload command that gives a restored guest new addresses and a new boot id.

        Returns:
            A list with the command. The list is empty for a guest that was booted and not
            restored.
        """
        if not self.saved_macs:
            return []
        address_suffixes = [f",{self.address}/{self.prefix_length}"] + [""] * (len(self.macs) - 1)
        nic_arguments = [
            f"nic{index}={saved_mac},{new_mac}{address_suffix}"
            for index, (saved_mac, new_mac, address_suffix) in enumerate(
                zip(self.saved_macs, self.macs, address_suffixes, strict=True)
            )
        ]
        identity_arguments = (
            f"id={token_hex(16)}",
            f"seed={token_hex(32)}",
            f"unix_ms={time.time() * 1000:.0f}",
        )
        return [("identity", *identity_arguments, *nic_arguments)]

    def query_states_by_host(self, hosts: tuple[Host, ...]) -> dict[str, DomainState]:
        """Query the state of the guest on each of `hosts`.

        Returns:
            The state by host name. Hosts without a domain of the guest are left out.
        """
        states = {}
        for host in hosts:
            domain = host.libvirt.find_domain(self.name)
            if domain is not None:
                states[host.name] = domain.query_state()
        return states


def require_running(guest: Guest) -> None:
    """Raise an error unless the guest runs on the current host.

    Raises:
        HostError: The guest does not run. The error names the state.
    """
    state = guest.query_state()
    if state is not DomainState.RUNNING:
        raise HostError(guest.host.name, f"guest {guest.name} is {state}, not running")
