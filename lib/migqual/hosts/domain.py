"""One domain of libvirt, typed."""

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
from migqual.model.command import Flag

# name, detail, controller's monotonic time, host's clock in µs (QEMU events only)
EventSink = Callable[[str, str, float, int | None], None]

_STATES = {
    libvirt.VIR_DOMAIN_NOSTATE: "none",
    libvirt.VIR_DOMAIN_RUNNING: "running",
    libvirt.VIR_DOMAIN_BLOCKED: "blocked",
    libvirt.VIR_DOMAIN_PAUSED: "paused",
    libvirt.VIR_DOMAIN_SHUTDOWN: "in-shutdown",
    libvirt.VIR_DOMAIN_SHUTOFF: "off",
    libvirt.VIR_DOMAIN_CRASHED: "crashed",
    libvirt.VIR_DOMAIN_PMSUSPENDED: "pm-suspended",
}
_LIFECYCLE = {
    libvirt.VIR_DOMAIN_EVENT_DEFINED: "defined",
    libvirt.VIR_DOMAIN_EVENT_UNDEFINED: "undefined",
    libvirt.VIR_DOMAIN_EVENT_STARTED: "started",
    libvirt.VIR_DOMAIN_EVENT_SUSPENDED: "suspended",
    libvirt.VIR_DOMAIN_EVENT_RESUMED: "resumed",
    libvirt.VIR_DOMAIN_EVENT_STOPPED: "stopped",
    libvirt.VIR_DOMAIN_EVENT_SHUTDOWN: "shutdown",
    libvirt.VIR_DOMAIN_EVENT_CRASHED: "crashed",
}


# there is no such domain, or it is off, or it has no definition to forget
_GONE = (libvirt.VIR_ERR_NO_DOMAIN, libvirt.VIR_ERR_OPERATION_INVALID)


class Reboot(StrEnum):
    """Who is asked to restart the guest: its power button, its agent, or nobody (reset)."""

    ACPI = "acpi"
    AGENT = "agent"
    RESET = "reset"


class Phase(StrEnum):
    """The part of a migration that a bandwidth is for."""

    PRECOPY = "pre-copy"
    POSTCOPY = "post-copy"

    @property
    def flags(self) -> int:
        postcopy: int = libvirt.VIR_DOMAIN_MIGRATE_MAX_SPEED_POSTCOPY
        return postcopy if self is Phase.POSTCOPY else 0


_REBOOT_FLAGS = {
    Reboot.ACPI: libvirt.VIR_DOMAIN_REBOOT_ACPI_POWER_BTN,
    Reboot.AGENT: libvirt.VIR_DOMAIN_REBOOT_GUEST_AGENT,
}


class Domain:
    """A domain on one host. Raises `StackError` with libvirt's words."""

    def __init__(self, host: str, raw: Any) -> None:  # noqa: ANN401
        self.host = host
        self.raw = raw

    @property
    def name(self) -> str:
        return str(self.raw.name())

    @property
    def uuid(self) -> str:
        return str(self.raw.UUIDString())

    @property
    def persistent(self) -> bool:
        """Whether libvirt keeps its definition."""
        return bool(self._do("look at", lambda d: d.isPersistent()))

    def state(self) -> str:
        """running, paused, off, ...; `gone` when there is no such domain any more."""
        try:
            return _STATES.get(self.raw.state()[0], "unknown")
        except libvirt.libvirtError as error:
            if error.get_error_code() == libvirt.VIR_ERR_NO_DOMAIN:
                return "gone"
            raise HostError(self.host, f"state: {error}") from error

    def xml(self) -> str:
        return str(self._do("XML", lambda d: d.XMLDesc(libvirt.VIR_DOMAIN_XML_MIGRATABLE)))

    def live_xml(self) -> str:
        return str(self._do("XML", lambda d: d.XMLDesc(0)))

    def virt(self) -> str:
        """What runs it: kvm, or qemu where it is emulated."""
        return str(etree.fromstring(self.live_xml()).get("type"))

    def start(self) -> None:
        self._do("start", lambda d: d.create())

    def suspend(self) -> None:
        self._do("suspend", lambda d: d.suspend())

    def resume(self) -> None:
        self._do("resume", lambda d: d.resume())

    def reset(self) -> None:
        """As the reset button does."""
        self._do("reset", lambda d: d.reset(0))

    def reboot(self, way: Reboot) -> None:
        """virDomainReboot, or virDomainReset. Returns before the guest has gone down."""
        if way is Reboot.RESET:
            self.reset()
        else:
            self._do("reboot", lambda d: d.reboot(_REBOOT_FLAGS[way]))

    def save(self, path: PurePosixPath) -> None:
        """virDomainSave: write the running domain to `path`; it is off afterwards."""
        self._do("save", lambda d: d.save(str(path)))

    def destroy(self) -> None:
        """Power off, if it is on. Not an error when it is gone."""
        self._unless_gone("destroy", lambda d: d.destroy())

    def undefine(self) -> None:
        """Forget the definition and everything libvirt keeps with it. Not an error when gone."""
        flags = libvirt.VIR_DOMAIN_UNDEFINE_NVRAM | libvirt.VIR_DOMAIN_UNDEFINE_MANAGED_SAVE
        self._unless_gone("undefine", lambda d: d.undefineFlags(flags))

    def job_stats(self) -> dict[str, Any]:
        """virDomainGetJobStats of the job that runs; empty when there is none."""
        try:
            return dict(self.raw.jobStats())
        except libvirt.libvirtError:
            return {}

    def block_job(self, target: str) -> tuple[int, int] | None:
        """virDomainGetBlockJobInfo: bytes done and in all; None when nothing is done to it."""
        try:
            info = self.raw.blockJobInfo(target, 0)
        except libvirt.libvirtError:
            return None
        return (int(info["cur"]), int(info["end"])) if info else None

    def completed_stats(self) -> dict[str, Any]:
        flags = libvirt.VIR_DOMAIN_JOB_STATS_COMPLETED | libvirt.VIR_DOMAIN_JOB_STATS_KEEP_COMPLETED
        try:
            return dict(self.raw.jobStats(flags))
        except libvirt.libvirtError:
            return {}

    def abort_job(self) -> None:
        """virDomainAbortJob. libvirt refuses in post-copy, and where there is no job (yet)."""
        self._do("abort the job", lambda d: d.abortJob())

    def start_postcopy(self) -> None:
        self._do("switch to post-copy", lambda d: d.migrateStartPostCopy())

    def set_max_downtime(self, milliseconds: int) -> None:
        self._do("set maximum downtime", lambda d: d.migrateSetMaxDowntime(milliseconds, 0))

    def max_downtime(self) -> int:
        return int(self._do("maximum downtime", lambda d: d.migrateGetMaxDowntime()))

    def set_bandwidth(self, mib_s: int, phase: Phase = Phase.PRECOPY) -> None:
        """virDomainMigrateSetMaxSpeed (`migrate-setspeed`), MiB/s; also while it migrates."""
        self._do("set bandwidth", lambda d: d.migrateSetMaxSpeed(mib_s, phase.flags))

    def bandwidth(self, phase: Phase = Phase.PRECOPY) -> int:
        """virDomainMigrateGetMaxSpeed (`migrate-getspeed`), MiB/s."""
        return int(self._do("bandwidth", lambda d: d.migrateGetMaxSpeed(phase.flags)))

    def start_dirty_rate(self, seconds: int, mode: int) -> None:
        """virDomainStartDirtyRateCalc. `mode` is one of libvirt's flags."""
        self._do("measure the dirty rate", lambda d: d.startDirtyRateCalc(seconds, mode))

    def dirty_rate(self) -> dict[str, Any]:
        """The domain's statistics of its dirty rate."""
        group = libvirt.VIR_DOMAIN_STATS_DIRTYRATE
        found = self._do("dirty rate", lambda d: d.connect().domainListGetStats([d], group, 0))
        return dict(found[0][1])

    def migrate_direct(
        self,
        destination: Any,  # noqa: ANN401
        flags: Flag,
        parameters: Mapping[str, Any],
    ) -> Any:  # noqa: ANN401
        """virDomainMigrate3. Blocks; raises `StackError`."""
        return self._do("migrate", lambda d: d.migrate3(destination, dict(parameters), int(flags)))

    def migrate_peer_to_peer(self, uri: str, flags: Flag, parameters: Mapping[str, Any]) -> None:
        """virDomainMigrateToURI3. Blocks; raises `StackError`."""
        self._do("migrate", lambda d: d.migrateToURI3(uri, dict(parameters), int(flags)))

    def agent(self, command: str, *, seconds: int = 10, **arguments: Any) -> Any:  # noqa: ANN401
        """One command of the guest agent; returns what it returns.

        Raises `GuestError` with libvirt's words.
        """
        message: dict[str, Any] = {"execute": command}
        if arguments:
            message["arguments"] = arguments
        try:
            text = libvirt_qemu.qemuAgentCommand(self.raw, json.dumps(message), seconds, 0)
        except libvirt.libvirtError as error:
            raise GuestError(f"{self.name} on {self.host}: {command}: {error}") from error
        return json.loads(text)["return"]

    def monitor(self, command: str, **arguments: Any) -> Any:  # noqa: ANN401
        """One QMP command; returns what it returns. Raises `HostError` with QEMU's words."""
        message: dict[str, Any] = {"execute": command}
        if arguments:
            message["arguments"] = arguments
        text = self._do(
            command, lambda d: libvirt_qemu.qemuMonitorCommand(d, json.dumps(message), 0)
        )
        answer = json.loads(text)
        if "error" in answer:
            raise HostError(self.host, f"{command}: {answer['error'].get('desc')}")
        return answer["return"]

    def _unless_gone(self, what: str, work: Callable[[Any], Any]) -> None:
        try:
            self._do(what, work)
        except StackError as error:
            if error.code not in _GONE:
                raise

    def _do(self, what: str, work: Callable[[Any], Any]) -> Any:  # noqa: ANN401
        try:
            return work(self.raw)
        except libvirt.libvirtError as error:
            raise StackError(self.host, what, str(error), error.get_error_code()) from error


def subscribe(connection: Any, name: str, sink: EventSink) -> list[int]:  # noqa: ANN401
    """Events of the domain called `name`: life cycle, migration rounds, end of the job.

    Matched by name: a destination's domain does not exist yet when one subscribes.
    """

    def lifecycle(_c: Any, domain: Any, event: int, detail: int, _o: Any) -> None:  # noqa: ANN401
        if domain.name() == name:
            sink(_LIFECYCLE.get(event, str(event)), str(detail), time.monotonic(), None)

    def rounds(_c: Any, domain: Any, iteration: int, _o: Any) -> None:  # noqa: ANN401
        if domain.name() == name:
            sink("iteration", str(iteration), time.monotonic(), None)

    def completed(_c: Any, domain: Any, stats: Any, _o: Any) -> None:  # noqa: ANN401
        if domain.name() == name:
            sink("job-completed", json.dumps(stats, default=str), time.monotonic(), None)

    return [
        connection.domainEventRegisterAny(None, number, function, None)
        for number, function in (
            (libvirt.VIR_DOMAIN_EVENT_ID_LIFECYCLE, lifecycle),
            (libvirt.VIR_DOMAIN_EVENT_ID_MIGRATION_ITERATION, rounds),
            (libvirt.VIR_DOMAIN_EVENT_ID_JOB_COMPLETED, completed),
        )
    ]


def watch_monitor(connection: Any, name: str, sink: EventSink) -> Callable[[], None]:  # noqa: ANN401
    """QEMU's own events of the domain called `name`, with the host's clock."""

    def event(
        _c: Any,  # noqa: ANN401
        domain: Any,  # noqa: ANN401
        event: str,
        seconds: int,
        micros: int,
        details: str,
        _o: Any,  # noqa: ANN401
    ) -> None:
        if domain.name() == name:
            sink(event, details or "", time.monotonic(), seconds * 1_000_000 + micros)

    number = libvirt_qemu.qemuMonitorEventRegister(connection, None, None, event, None, 0)

    def end() -> None:
        with suppress(libvirt.libvirtError):
            libvirt_qemu.qemuMonitorEventDeregister(connection, number)

    return end
