"""A migration by virsh on the source host; a test sends a signal to virsh during the migration."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass

from migqual.deadline import Deadline
from migqual.errors import GuestError, HostError, InconclusiveError
from migqual.faults.daemon_faults import is_process_frozen
from migqual.faults.injection import inject_commands
from migqual.hosts.domain_job import query_job_stats
from migqual.hosts.guest import Guest
from migqual.hosts.host import Host
from migqual.hosts.journal import Journal
from migqual.hosts.remote_process import RemoteProcess
from migqual.migration.migrate import build_destination_definitions, build_endpoint
from migqual.model.libvirt_call import (
    DESTINATION_XML_FILE,
    DestinationEndpoint,
    build_virsh_migrate,
)
from migqual.model.migration_phase import MigrationPhase, determine_phase
from migqual.model.plan import Plan
from migqual.observe.event_log import EventLog, collect_events
from migqual.testbed.testbed import Testbed
from suites.support.operator_commands import open_command_folder

CTRL_C = "\x03"
LOCAL_URI = "qemu:///system"
START_SECONDS = 30.0
END_SECONDS = 60.0
FREE_BANDWIDTH_MIB_S = 100_000
POLL_SECONDS = 0.02
# the shell becomes virsh, so the number is virsh's
_VIRSH_SCRIPT = 'cd "$1"; shift; echo "pid $$"; exec "$@"'


@dataclass
class VirshClient:
    """A virsh process on the source host that migrates a guest.

    Attributes:
        host: The source host.
        pid: Process id of virsh.
        event_log: The events of the guest on both hosts.
    """

    guest: Guest
    host: Host
    pid: str
    event_log: EventLog
    process: RemoteProcess

    def interrupt(self) -> None:
        """Press Ctrl-C on the terminal of virsh while QEMU sends guest memory.

        Raises:
            InconclusiveError: The migration was not in the first iteration over guest memory.
        """
        self._require_first_iteration()
        self.process.send_line(CTRL_C)

    def kill(self) -> None:
        """Send SIGKILL to virsh while QEMU sends guest memory.

        Raises:
            InconclusiveError: The migration was not in the first iteration over guest memory.
        """
        self._require_first_iteration()
        self.host.shell.run("kill", "-s", "KILL", self.pid)

    @contextmanager
    def freeze(self, journal: Journal) -> Iterator[None]:
        """Stop virsh with SIGSTOP while QEMU sends guest memory, and continue virsh afterwards.

        Raises:
            InconclusiveError: The migration was not in the first iteration over guest memory, or
                virsh is not stopped.
        """
        self._require_first_iteration()
        with inject_commands(
            journal,
            self.host,
            f"frozen virsh for {self.guest.name}",
            [("kill", "-s", "STOP", self.pid)],
            [("kill", "-s", "CONT", self.pid)],
            lambda: is_process_frozen(self.host, self.pid),
        ):
            yield

    def wait_for_end(self) -> None:
        """Wait until virsh has ended.

        Raises:
            TimedOut: virsh still runs after 60 s.
        """
        Deadline(END_SECONDS).wait_for(
            f"the end of virsh for {self.guest.name}",
            lambda: not is_process(self.host, self.pid),
            interval_s=POLL_SECONDS,
        )

    def lift_bandwidth_limit(self) -> None:
        """Lift the bandwidth limit of the migration; do nothing if the migration has ended."""
        with suppress(GuestError, HostError):
            self.guest.domain.set_bandwidth(FREE_BANDWIDTH_MIB_S)

    def _require_first_iteration(self) -> None:
        phase = determine_phase(self.event_log.events, self.host.name)
        if phase is not MigrationPhase.FIRST_ITERATION:
            raise InconclusiveError(
                "the test must send the signal to virsh in the phase first-iteration, but the "
                f"migration is in the phase {phase}"
            )

    def wait_for_end_of_job(self) -> None:
        """Wait for the end of the migration job after virsh got a signal.

        The migration may continue without virsh. To end the migration soon, the method first lifts
        the bandwidth limit.

        Raises:
            TimedOut: The job still runs after 60 s.
        """
        self.lift_bandwidth_limit()
        domain = self.guest.domain
        Deadline(END_SECONDS).wait_for(
            f"the end of the migration job of {self.guest.name}",
            lambda: not query_job_stats(domain).is_active,
            interval_s=POLL_SECONDS,
        )


@contextmanager
def migrate_with_virsh(testbed: Testbed, guest: Guest, plan: Plan) -> Iterator[VirshClient]:
    """Start `virsh migrate` on the source host, and yield when QEMU sends guest memory.

    In the `with` block, the test can send a signal to virsh.

    Args:
        testbed: The testbed of the guest.
        guest: The guest on the source host.
        plan: Settings of the migration. The bandwidth has to be so low that the migration does not
            end before the test sends the signal.

    Raises:
        InconclusiveError: virsh does not start the migration, or QEMU sends no guest memory within
            30 s.
    """
    source, destination, domain = testbed.source, testbed.destination, guest.domain
    definitions = build_destination_definitions(guest, destination, plan)
    argv = build_virsh_migrate(
        plan,
        guest.spec.persistence,
        source_uri=LOCAL_URI,
        domain=guest.name,
        endpoint=DestinationEndpoint(
            destination.entry.peer_uri, build_endpoint(destination, plan).migrate_uri
        ),
        has_other_names=bool(definitions),
    )
    with (
        open_command_folder(testbed, guest) as folder,
        collect_events(guest.name, (source, destination)) as event_log,
        ExitStack() as stack,
    ):
        if definitions:
            xml = definitions["destination_xml"].encode()
            source.shell.upload_file(xml, folder / DESTINATION_XML_FILE)
        process = stack.enter_context(
            source.shell.start("sh", "-c", _VIRSH_SCRIPT, "sh", folder, *argv, has_terminal=True)
        )
        client = VirshClient(guest, source, read_pid(process), event_log, process)
        deadline = Deadline(START_SECONDS)
        while not query_job_stats(domain).memory_processed_bytes:
            if not is_process(source, client.pid):
                raise InconclusiveError(f"virsh did not start the migration: {''.join(process)}")
            if deadline.is_over:
                raise InconclusiveError(
                    f"QEMU sent no guest memory within {START_SECONDS:g} s after the start of virsh"
                )
            deadline.pause(POLL_SECONDS)
        yield client


def is_process(host: Host, pid: str) -> bool:
    """Return whether the host has a process with the process id."""
    return host.shell.run_unchecked("test", "-d", f"/proc/{pid}").status == 0


def read_pid(process: RemoteProcess) -> str:
    """Read the process id of virsh from the output line `pid NUMBER` of the process.

    Lines before this line are ignored. They can be warnings of the login shell.

    Raises:
        InconclusiveError: The process ended before the line `pid NUMBER`.
    """
    lines = []
    for line in process:
        lines.append(line)
        if line.startswith("pid "):
            return line.split()[1]
    raise InconclusiveError(f"virsh did not start: {''.join(lines)}")
