"""A typed libvirt domain: state, jobs, statistics, migration and events."""

import json
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from enum import StrEnum
from pathlib import PurePosixPath
from typing import Any

import libvirt
import libvirt_qemu
from lxml import etree

from migqual.errors import GuestError, HostError, StackError
from migqual.model.libvirt_call import MigrateFlag

# event name, detail, controller's monotonic time in s, host's clock in µs (QEMU events only)
EventCallback = Callable[[str, str, float, int | None], None]

_STATE_NAMES = {
    libvirt.VIR_DOMAIN_NOSTATE: "none",
    libvirt.VIR_DOMAIN_RUNNING: "running",
    libvirt.VIR_DOMAIN_BLOCKED: "blocked",
    libvirt.VIR_DOMAIN_PAUSED: "paused",
    libvirt.VIR_DOMAIN_SHUTDOWN: "in-shutdown",
    libvirt.VIR_DOMAIN_SHUTOFF: "off",
    libvirt.VIR_DOMAIN_CRASHED: "crashed",
    libvirt.VIR_DOMAIN_PMSUSPENDED: "pm-suspended",
}
_LIFECYCLE_EVENT_NAMES = {
    libvirt.VIR_DOMAIN_EVENT_DEFINED: "defined",
    libvirt.VIR_DOMAIN_EVENT_UNDEFINED: "undefined",
    libvirt.VIR_DOMAIN_EVENT_STARTED: "started",
    libvirt.VIR_DOMAIN_EVENT_SUSPENDED: "suspended",
    libvirt.VIR_DOMAIN_EVENT_RESUMED: "resumed",
    libvirt.VIR_DOMAIN_EVENT_STOPPED: "stopped",
    libvirt.VIR_DOMAIN_EVENT_SHUTDOWN: "shutdown",
    libvirt.VIR_DOMAIN_EVENT_CRASHED: "crashed",
}


# the domain does not exist, is off, or has no definition to remove
_ALREADY_GONE_CODES = (libvirt.VIR_ERR_NO_DOMAIN, libvirt.VIR_ERR_OPERATION_INVALID)


class RebootMethod(StrEnum):
    """The method of a guest reboot: ACPI power button, guest agent, or hardware reset."""

    ACPI = "acpi"
    AGENT = "agent"
    RESET = "reset"


class BandwidthPhase(StrEnum):
    """The migration phase of a bandwidth limit."""

    PRECOPY = "pre-copy"
    POSTCOPY = "post-copy"

    @property
    def flags(self) -> int:
        """Return the flags of the phase for libvirt's bandwidth calls."""
        postcopy_flag: int = libvirt.VIR_DOMAIN_MIGRATE_MAX_SPEED_POSTCOPY
        return postcopy_flag if self is BandwidthPhase.POSTCOPY else 0


_REBOOT_FLAGS = {
    RebootMethod.ACPI: libvirt.VIR_DOMAIN_REBOOT_ACPI_POWER_BTN,
    RebootMethod.AGENT: libvirt.VIR_DOMAIN_REBOOT_GUEST_AGENT,
}


class Domain:
    """A libvirt domain on a host.

    The methods raise `StackError` with libvirt's message, except where documented otherwise.
    """

    def __init__(self, host: str, raw: Any) -> None:  # noqa: ANN401
        self.host = host
        self.raw = raw

    @property
    def name(self) -> str:
        """Return the name of the domain."""
        return str(self.raw.name())

    @property
    def uuid(self) -> str:
        """Return the UUID of the domain."""
        return str(self.raw.UUIDString())

    @property
    def is_persistent(self) -> bool:
        """Return whether libvirt keeps the definition of the domain."""
        return bool(self._call_libvirt("query persistence", lambda d: d.isPersistent()))

    def query_state(self) -> str:
        """Query the state of the domain.

        Returns:
            For example `running`, `paused` or `off`; `gone` when libvirt does not know the
            domain any more.

        Raises:
            HostError: libvirt refuses the query for another reason.
        """
        try:
            return _STATE_NAMES.get(self.raw.state()[0], "unknown")
        except libvirt.libvirtError as error:
            if error.get_error_code() == libvirt.VIR_ERR_NO_DOMAIN:
                return "gone"
            raise HostError(self.host, f"query state: {error}") from error

    def read_migratable_xml(self) -> str:
        """Read the domain XML for a migration (VIR_DOMAIN_XML_MIGRATABLE)."""
        return str(
            self._call_libvirt("read XML", lambda d: d.XMLDesc(libvirt.VIR_DOMAIN_XML_MIGRATABLE))
        )

    def read_live_xml(self) -> str:
        """Read the current domain XML; of a running domain the live definition."""
        return str(self._call_libvirt("read XML", lambda d: d.XMLDesc(0)))

    def read_virt_type(self) -> str:
        """Read the domain type: `kvm`, or `qemu` for an emulated guest."""
        return str(etree.fromstring(self.read_live_xml()).get("type"))

    def start(self) -> None:
        """Start the defined domain (virDomainCreate)."""
        self._call_libvirt("start", lambda d: d.create())

    def suspend(self) -> None:
        """Suspend the vCPUs of the domain (virDomainSuspend)."""
        self._call_libvirt("suspend", lambda d: d.suspend())

    def resume(self) -> None:
        """Resume the vCPUs of the domain (virDomainResume)."""
        self._call_libvirt("resume", lambda d: d.resume())

    def reset(self) -> None:
        """Reset the domain like a hardware reset button (virDomainReset)."""
        self._call_libvirt("reset", lambda d: d.reset(0))

    def reboot(self, method: RebootMethod) -> None:
        """Reboot the guest with virDomainReboot or virDomainReset.

        The method returns before the guest has shut down.
        """
        if method is RebootMethod.RESET:
            self.reset()
        else:
            self._call_libvirt("reboot", lambda d: d.reboot(_REBOOT_FLAGS[method]))

    def save(self, path: PurePosixPath) -> None:
        """Save the running domain to the file `path` (virDomainSave).

        The domain is off afterwards.
        """
        self._call_libvirt("save", lambda d: d.save(str(path)))

    def destroy(self) -> None:
        """Destroy the domain: power off at once. A domain already off or gone is no error."""
        self._call_ignoring_gone("destroy", lambda d: d.destroy())

    def undefine(self) -> None:
        """Undefine the domain with the NVRAM file and the managed-save image.

        A domain without a definition is no error, and neither is a domain already gone.
        """
        flags = libvirt.VIR_DOMAIN_UNDEFINE_NVRAM | libvirt.VIR_DOMAIN_UNDEFINE_MANAGED_SAVE
        self._call_ignoring_gone("undefine", lambda d: d.undefineFlags(flags))

    def query_job_stats(self) -> dict[str, Any]:
        """Query the statistics of the running job (virDomainGetJobStats).

        Returns:
            The statistics by name; empty without a running job, or when libvirt refuses the
            query.
        """
        try:
            return dict(self.raw.jobStats())
        except libvirt.libvirtError:
            return {}

    def query_block_job(self, target: str) -> tuple[int, int] | None:
        """Query the block job of a disk (virDomainGetBlockJobInfo).

        Args:
            target: Target name of the disk, for example `vda`.

        Returns:
            The processed bytes and the total bytes; None without a block job, or when libvirt
            refuses.
        """
        try:
            job_info = self.raw.blockJobInfo(target, 0)
        except libvirt.libvirtError:
            return None
        return (int(job_info["cur"]), int(job_info["end"])) if job_info else None

    def query_completed_job_stats(self) -> dict[str, Any]:
        """Query the statistics of the last completed job (virDomainGetJobStats).

        libvirt keeps the statistics for later queries.

        Returns:
            The statistics by name; empty when libvirt has no statistics.
        """
        flags = libvirt.VIR_DOMAIN_JOB_STATS_COMPLETED | libvirt.VIR_DOMAIN_JOB_STATS_KEEP_COMPLETED
        try:
            return dict(self.raw.jobStats(flags))
        except libvirt.libvirtError:
            return {}

    def abort_job(self) -> None:
        """Abort the running job (virDomainAbortJob).

        libvirt refuses the call in post-copy, and before the start or after the end of the job.
        """
        self._call_libvirt("abort the job", lambda d: d.abortJob())

    def start_postcopy(self) -> None:
        """Switch the running migration to post-copy (virDomainMigrateStartPostCopy)."""
        self._call_libvirt("switch to post-copy", lambda d: d.migrateStartPostCopy())

    def set_max_downtime(self, downtime_ms: int) -> None:
        """Set the maximum downtime of a migration in ms (virDomainMigrateSetMaxDowntime)."""
        self._call_libvirt(
            "set maximum downtime", lambda d: d.migrateSetMaxDowntime(downtime_ms, 0)
        )

    def query_max_downtime_ms(self) -> int:
        """Query the maximum downtime of a migration in ms (virDomainMigrateGetMaxDowntime)."""
        return int(
            self._call_libvirt("query maximum downtime", lambda d: d.migrateGetMaxDowntime())
        )

    def set_bandwidth(self, mib_s: int, phase: BandwidthPhase = BandwidthPhase.PRECOPY) -> None:
        """Set the migration bandwidth in MiB/s (virDomainMigrateSetMaxSpeed).

        The virsh command is `migrate-setspeed`. The call also works during a migration.
        """
        self._call_libvirt("set bandwidth", lambda d: d.migrateSetMaxSpeed(mib_s, phase.flags))

    def query_bandwidth_mib_s(self, phase: BandwidthPhase = BandwidthPhase.PRECOPY) -> int:
        """Query the migration bandwidth in MiB/s (virDomainMigrateGetMaxSpeed).

        The virsh command is `migrate-getspeed`.
        """
        return int(
            self._call_libvirt("query bandwidth", lambda d: d.migrateGetMaxSpeed(phase.flags))
        )

    def start_dirty_rate_measurement(self, seconds: int, mode: int) -> None:
        """Start a dirty-rate measurement (virDomainStartDirtyRateCalc).

        Args:
            seconds: Length of the measurement.
            mode: Flag of libvirt: `VIR_DOMAIN_DIRTYRATE_MODE_...`.
        """
        self._call_libvirt("measure the dirty rate", lambda d: d.startDirtyRateCalc(seconds, mode))

    def query_dirty_rate_stats(self) -> dict[str, Any]:
        """Query the dirty-rate group of the domain statistics (virDomainListGetStats)."""
        stats_group = libvirt.VIR_DOMAIN_STATS_DIRTYRATE
        domain_stats = self._call_libvirt(
            "query dirty rate", lambda d: d.connect().domainListGetStats([d], stats_group, 0)
        )
        return dict(domain_stats[0][1])

    def migrate_direct(
        self,
        destination: Any,  # noqa: ANN401
        flags: MigrateFlag,
        parameters: Mapping[str, Any],
    ) -> Any:  # noqa: ANN401
        """Migrate the domain with virDomainMigrate3 and wait for the end.

        Args:
            destination: Connection object of the libvirt binding to the destination.
            flags: Migration flags.
            parameters: Typed parameters of libvirt by name.

        Returns:
            The domain object of the libvirt binding at the destination.

        Raises:
            StackError: libvirt or QEMU refuses or breaks off the migration.
        """
        return self._call_libvirt(
            "migrate", lambda d: d.migrate3(destination, dict(parameters), int(flags))
        )

    def migrate_peer_to_peer(
        self, uri: str, flags: MigrateFlag, parameters: Mapping[str, Any]
    ) -> None:
        """Migrate the domain with virDomainMigrateToURI3 and wait for the end.

        Args:
            uri: libvirt URI of the destination, as the source uses the URI.
            flags: Migration flags.
            parameters: Typed parameters of libvirt by name.

        Raises:
            StackError: libvirt or QEMU refuses or breaks off the migration.
        """
        self._call_libvirt("migrate", lambda d: d.migrateToURI3(uri, dict(parameters), int(flags)))

    def run_agent_command(self, command: str, *, seconds: int = 10, **arguments: Any) -> Any:  # noqa: ANN401
        """Run a command of the QEMU guest agent.

        Args:
            command: Name of the command, for example `guest-ping`.
            seconds: Time limit for the reply of the agent.
            **arguments: Arguments of the command.

        Returns:
            The `return` value of the reply.

        Raises:
            GuestError: The command fails, or the agent does not answer. The error has libvirt's
                message.
        """
        request: dict[str, Any] = {"execute": command}
        if arguments:
            request["arguments"] = arguments
        try:
            reply_text = libvirt_qemu.qemuAgentCommand(self.raw, json.dumps(request), seconds, 0)
        except libvirt.libvirtError as error:
            raise GuestError(f"{self.name} on {self.host}: {command}: {error}") from error
        return json.loads(reply_text)["return"]

    def run_qmp_command(self, command: str, **arguments: Any) -> Any:  # noqa: ANN401
        """Run a QMP command.

        Args:
            command: Name of the command, for example `query-migrate`.
            **arguments: Arguments of the command.

        Returns:
            The `return` value of the reply.

        Raises:
            HostError: QEMU refuses the command. The error has QEMU's message.
            StackError: libvirt refuses the call.
        """
        request: dict[str, Any] = {"execute": command}
        if arguments:
            request["arguments"] = arguments
        reply_text = self._call_libvirt(
            command, lambda d: libvirt_qemu.qemuMonitorCommand(d, json.dumps(request), 0)
        )
        reply = json.loads(reply_text)
        if "error" in reply:
            raise HostError(self.host, f"{command}: {reply['error'].get('desc')}")
        return reply["return"]

    def _call_ignoring_gone(self, action: str, function: Callable[[Any], Any]) -> None:
        try:
            self._call_libvirt(action, function)
        except StackError as error:
            if error.code not in _ALREADY_GONE_CODES:
                raise

    def _call_libvirt(self, action: str, function: Callable[[Any], Any]) -> Any:  # noqa: ANN401
        try:
            return function(self.raw)
        except libvirt.libvirtError as error:
            raise StackError(self.host, action, str(error), error.get_error_code()) from error


def subscribe_domain_events(
    raw_connection: Any,  # noqa: ANN401
    domain_name: str,
    on_event: EventCallback,
) -> list[int]:
    """Subscribe to the life-cycle, migration-iteration and job-completed events of a domain.

    The callbacks compare the domain name, because the domain at a destination does not exist
    yet.

    Args:
        raw_connection: Connection object of the libvirt binding.
        domain_name: Name of the domain.
        on_event: Receives the arguments of `EventCallback`.

    Returns:
        The callback ids for domainEventDeregisterAny.
    """

    def on_lifecycle_event(
        _connection: Any,  # noqa: ANN401
        domain: Any,  # noqa: ANN401
        event: int,
        detail: int,
        _opaque: Any,  # noqa: ANN401
    ) -> None:
        if domain.name() == domain_name:
            on_event(
                _LIFECYCLE_EVENT_NAMES.get(event, str(event)), str(detail), time.monotonic(), None
            )

    def on_iteration(_connection: Any, domain: Any, iteration: int, _opaque: Any) -> None:  # noqa: ANN401
        if domain.name() == domain_name:
            on_event("iteration", str(iteration), time.monotonic(), None)

    def on_job_completed(_connection: Any, domain: Any, stats: Any, _opaque: Any) -> None:  # noqa: ANN401
        if domain.name() == domain_name:
            on_event("job-completed", json.dumps(stats, default=str), time.monotonic(), None)

    return [
        raw_connection.domainEventRegisterAny(None, event_id, callback, None)
        for event_id, callback in (
            (libvirt.VIR_DOMAIN_EVENT_ID_LIFECYCLE, on_lifecycle_event),
            (libvirt.VIR_DOMAIN_EVENT_ID_MIGRATION_ITERATION, on_iteration),
            (libvirt.VIR_DOMAIN_EVENT_ID_JOB_COMPLETED, on_job_completed),
        )
    ]


def watch_qemu_events(
    raw_connection: Any,  # noqa: ANN401
    domain_name: str,
    on_event: EventCallback,
) -> Callable[[], None]:
    """Watch the QEMU events of a domain; each event has the time of the host's clock.

    Args:
        raw_connection: Connection object of the libvirt binding.
        domain_name: Name of the domain.
        on_event: Receives the arguments of `EventCallback`.

    Returns:
        A function to stop the watching.
    """

    def on_qemu_event(
        _connection: Any,  # noqa: ANN401
        domain: Any,  # noqa: ANN401
        event_name: str,
        seconds: int,
        microseconds: int,
        details: str,
        _opaque: Any,  # noqa: ANN401
    ) -> None:
        if domain.name() == domain_name:
            on_event(
                event_name, details or "", time.monotonic(), seconds * 1_000_000 + microseconds
            )

    callback_id = libvirt_qemu.qemuMonitorEventRegister(
        raw_connection, None, None, on_qemu_event, None, 0
    )

    def stop_watching() -> None:
        with suppress(libvirt.libvirtError):
            libvirt_qemu.qemuMonitorEventDeregister(raw_connection, callback_id)

    return stop_watching
