"""Call libvirt for a domain.

The calls concern state, life cycle, migration limits, guest agent and QMP. The module `domain_job`
has the calls for jobs. The module `domain_events` has the calls for events.
"""

import json
from collections.abc import Callable, Mapping
from enum import StrEnum
from pathlib import PurePosixPath
from typing import Any, TypeVar

import libvirt
import libvirt_qemu

from migqual.errors import GuestError, HostError, StackError
from migqual.hosts.domain_definition import parse_domain_xml

T = TypeVar("T")

# the domain does not exist, is off, or has no definition to remove
_ALREADY_GONE_CODES = (libvirt.VIR_ERR_NO_DOMAIN, libvirt.VIR_ERR_OPERATION_INVALID)


class DomainState(StrEnum):
    """The state of a domain (virDomainState). `GONE` means that libvirt has no such domain."""

    NONE = "none"
    RUNNING = "running"
    BLOCKED = "blocked"
    PAUSED = "paused"
    SHUTDOWN = "in-shutdown"
    SHUT_OFF = "off"
    CRASHED = "crashed"
    PM_SUSPENDED = "pm-suspended"
    GONE = "gone"
    UNKNOWN = "unknown"


_STATES = {
    libvirt.VIR_DOMAIN_NOSTATE: DomainState.NONE,
    libvirt.VIR_DOMAIN_RUNNING: DomainState.RUNNING,
    libvirt.VIR_DOMAIN_BLOCKED: DomainState.BLOCKED,
    libvirt.VIR_DOMAIN_PAUSED: DomainState.PAUSED,
    libvirt.VIR_DOMAIN_SHUTDOWN: DomainState.SHUTDOWN,
    libvirt.VIR_DOMAIN_SHUTOFF: DomainState.SHUT_OFF,
    libvirt.VIR_DOMAIN_CRASHED: DomainState.CRASHED,
    libvirt.VIR_DOMAIN_PMSUSPENDED: DomainState.PM_SUSPENDED,
}


class RebootMethod(StrEnum):
    """The method of a guest reboot: ACPI power button, guest agent, or hardware reset."""

    ACPI = "acpi"
    AGENT = "agent"
    RESET = "reset"


class BandwidthPhase(StrEnum):
    """The phase of a migration in which a bandwidth limit applies."""

    PRECOPY = "pre-copy"
    POSTCOPY = "post-copy"

    @property
    def flags(self) -> int:
        """Return the flags that select the phase in virDomainMigrateSetMaxSpeed."""
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
        """Return whether libvirt keeps the definition of the domain after a shutdown."""
        return bool(self.call_libvirt("query persistence", lambda d: d.isPersistent()))

    def call_libvirt(self, action: str, function: Callable[[Any], T]) -> T:
        """Call a function with the domain object of the libvirt binding.

        Args:
            action: Name of the action for error messages.
            function: Receives the domain object.

        Returns:
            The result of the function.

        Raises:
            StackError: libvirt refuses the call.
        """
        try:
            return function(self.raw)
        except libvirt.libvirtError as error:
            raise StackError(self.host, action, str(error), error.get_error_code()) from error

    def query_state(self) -> DomainState:
        """Query the state of the domain. The result is `GONE` if libvirt does not know the domain.

        Raises:
            HostError: libvirt knows the domain, but refuses the query.
        """
        try:
            return _STATES.get(self.raw.state()[0], DomainState.UNKNOWN)
        except libvirt.libvirtError as error:
            if error.get_error_code() == libvirt.VIR_ERR_NO_DOMAIN:
                return DomainState.GONE
            raise HostError(self.host, f"cannot query the state of the guest: {error}") from error

    def read_migratable_xml(self) -> str:
        """Read the domain XML for a migration (VIR_DOMAIN_XML_MIGRATABLE)."""
        return str(
            self.call_libvirt("read XML", lambda d: d.XMLDesc(libvirt.VIR_DOMAIN_XML_MIGRATABLE))
        )

    def read_inactive_xml(self) -> str:
        """Read the persistent XML for a migration (VIR_DOMAIN_XML_INACTIVE and _MIGRATABLE)."""
        flags = libvirt.VIR_DOMAIN_XML_INACTIVE | libvirt.VIR_DOMAIN_XML_MIGRATABLE
        return str(self.call_libvirt("read XML", lambda d: d.XMLDesc(flags)))

    def read_live_xml(self) -> str:
        """Read the live XML of a running domain, or the stored XML of a domain that is off."""
        return str(self.call_libvirt("read XML", lambda d: d.XMLDesc(0)))

    def read_virt_type(self) -> str:
        """Return the domain type, which is `kvm`, or `qemu` for an emulated guest."""
        return parse_domain_xml(self.read_live_xml()).virt_type

    def start(self) -> None:
        """Start the defined domain (virDomainCreate)."""
        self.call_libvirt("start", lambda d: d.create())

    def suspend(self) -> None:
        """Suspend the vCPUs of the domain (virDomainSuspend)."""
        self.call_libvirt("suspend", lambda d: d.suspend())

    def resume(self) -> None:
        """Resume the vCPUs of the domain (virDomainResume)."""
        self.call_libvirt("resume", lambda d: d.resume())

    def reset(self) -> None:
        """Reset the domain like a hardware reset button (virDomainReset)."""
        self.call_libvirt("reset", lambda d: d.reset(0))

    def reboot(self, method: RebootMethod) -> None:
        """Reboot the guest with virDomainReboot or virDomainReset.

        The method returns before the guest has shut down.
        """
        if method is RebootMethod.RESET:
            self.reset()
        else:
            self.call_libvirt("reboot", lambda d: d.reboot(_REBOOT_FLAGS[method]))

    def save(self, path: PurePosixPath) -> None:
        """Save the running domain to the file `path` (virDomainSave).

        The domain is off afterwards.
        """
        self.call_libvirt("save", lambda d: d.save(str(path)))

    def destroy(self) -> None:
        """Power off the domain at once. A domain that is off or does not exist causes no error."""
        self._call_ignoring_gone("destroy", lambda d: d.destroy())

    def undefine(self) -> None:
        """Undefine the domain, and remove the NVRAM file and the managed-save image.

        The metadata of snapshots and checkpoints is removed, too. A domain that has no definition
        or does not exist causes no error.
        """
        flags = (
            libvirt.VIR_DOMAIN_UNDEFINE_NVRAM
            | libvirt.VIR_DOMAIN_UNDEFINE_MANAGED_SAVE
            | libvirt.VIR_DOMAIN_UNDEFINE_SNAPSHOTS_METADATA
            | libvirt.VIR_DOMAIN_UNDEFINE_CHECKPOINTS_METADATA
        )
        self._call_ignoring_gone("undefine", lambda d: d.undefineFlags(flags))

    def set_max_downtime(self, downtime_ms: int) -> None:
        """Set the maximum downtime in ms for migrations (virDomainMigrateSetMaxDowntime)."""
        self.call_libvirt("set maximum downtime", lambda d: d.migrateSetMaxDowntime(downtime_ms, 0))

    def query_max_downtime_ms(self) -> int:
        """Query the maximum downtime in ms for migrations (virDomainMigrateGetMaxDowntime).

        Raises:
            StackError: libvirt refuses the call. The binding then returns None, without an error.
        """
        action = "query maximum downtime"
        downtime_ms = self.call_libvirt(action, lambda d: d.migrateGetMaxDowntime())
        if downtime_ms is None:
            raise StackError(self.host, action, libvirt.virGetLastErrorMessage())
        return int(downtime_ms)

    def set_bandwidth(self, mib_s: int, phase: BandwidthPhase = BandwidthPhase.PRECOPY) -> None:
        """Set the migration bandwidth in MiB/s (virDomainMigrateSetMaxSpeed).

        The virsh command is `migrate-setspeed`. The call also works during a migration.
        """
        self.call_libvirt("set bandwidth", lambda d: d.migrateSetMaxSpeed(mib_s, phase.flags))

    def query_bandwidth_mib_s(self, phase: BandwidthPhase = BandwidthPhase.PRECOPY) -> int:
        """Query the migration bandwidth in MiB/s (virDomainMigrateGetMaxSpeed).

        The virsh command is `migrate-getspeed`.
        """
        return int(
            self.call_libvirt("query bandwidth", lambda d: d.migrateGetMaxSpeed(phase.flags))
        )

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
        request = _encode_command(command, arguments)
        try:
            reply_text = libvirt_qemu.qemuAgentCommand(self.raw, request, seconds, 0)
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
        request = _encode_command(command, arguments)
        reply_text = self.call_libvirt(
            command, lambda d: libvirt_qemu.qemuMonitorCommand(d, request, 0)
        )
        reply = json.loads(reply_text)
        if "error" in reply:
            raise HostError(
                self.host, f"QEMU of {self.name} refused {command}: {reply['error'].get('desc')}"
            )
        return reply["return"]

    def _call_ignoring_gone(self, action: str, function: Callable[[Any], Any]) -> None:
        try:
            self.call_libvirt(action, function)
        except StackError as error:
            if error.code not in _ALREADY_GONE_CODES:
                raise


def _encode_command(command: str, arguments: Mapping[str, Any]) -> str:
    request: dict[str, Any] = {"execute": command}
    if arguments:
        request["arguments"] = dict(arguments)
    return json.dumps(request)
