"""One libvirt connection, typed. Values are plain data; errors are ours.

Follows libvirt's public API: https://libvirt.org/html/index.html
"""

import threading
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from pathlib import PurePosixPath
from typing import Any, TypeVar

import libvirt
from lxml import etree

from migqual.errors import ConnectionLost, HostError
from migqual.hosts import events
from migqual.hosts.domain import Domain, EventSink, subscribe, watch_monitor

T = TypeVar("T")

OPEN_SECONDS = 60.0
_BROKEN = {
    libvirt.VIR_ERR_INTERNAL_ERROR,
    libvirt.VIR_ERR_SYSTEM_ERROR,
    libvirt.VIR_ERR_RPC,
    libvirt.VIR_ERR_NO_CONNECT,
    libvirt.VIR_ERR_INVALID_CONN,
}


class Connection:
    """libvirt on one host. Re-opened once when it was lost."""

    def __init__(self, host: str, uri: str) -> None:
        self.host = host
        self.uri = uri
        self._raw: Any = None
        self._lock = threading.RLock()

    def close(self) -> None:
        with self._lock:
            if self._raw is not None:
                with suppress(libvirt.libvirtError):
                    self._raw.close()
                self._raw = None

    @property
    def raw(self) -> Any:  # noqa: ANN401 - the binding is untyped
        """The binding's object, for calls between two connections."""
        with self._lock:
            if self._raw is None or not self._raw.isAlive():
                self._raw = self._open()
            return self._raw

    def call(self, what: str, work: Callable[[Any], T]) -> T:
        """Do `work` with the connection. A lost one is re-opened once."""
        try:
            return work(self.raw)
        except libvirt.libvirtError as error:
            if error.get_error_code() not in _BROKEN or self._alive():
                raise HostError(self.host, f"{what}: {error}") from error
            self.close()
        try:
            return work(self.raw)
        except libvirt.libvirtError as error:
            raise ConnectionLost(
                self.host, f"{what}: {error}", remedy="is libvirt running on the host?"
            ) from error

    def define(self, xml: str) -> Domain:
        flags = libvirt.VIR_DOMAIN_DEFINE_VALIDATE
        return self._domain(self.call("define", lambda c: c.defineXMLFlags(xml, flags)))

    def create(self, xml: str) -> Domain:
        """Start a transient domain."""
        flags = libvirt.VIR_DOMAIN_START_VALIDATE
        return self._domain(self.call("create", lambda c: c.createXML(xml, flags)))

    def restore(self, path: PurePosixPath) -> None:
        """virDomainRestore: run the domain that was saved to `path`."""
        self.call(f"restore {path}", lambda c: c.restore(str(path)))

    def lookup(self, name: str) -> Domain | None:
        """The domain called `name`, or None."""

        def find(connection: Any) -> Any:  # noqa: ANN401
            try:
                return connection.lookupByName(name)
            except libvirt.libvirtError as error:
                if error.get_error_code() == libvirt.VIR_ERR_NO_DOMAIN:
                    return None
                raise

        found = self.call(f"look up {name}", find)
        return None if found is None else self._domain(found)

    def domains(self) -> dict[str, str]:
        """Name to state (as libvirt's enum names it, lower case) of every domain."""
        found = self.call("list domains", lambda c: c.listAllDomains(0))
        return {raw.name(): Domain(self.host, raw).state() for raw in found}

    def capabilities(self) -> etree._Element:
        return etree.fromstring(self.call("capabilities", lambda c: c.getCapabilities()))

    def domain_capabilities(
        self, *, emulator: str | None, arch: str, machine: str, virt: str
    ) -> etree._Element:
        text: str = self.call(
            "domain capabilities",
            lambda c: c.getDomainCapabilities(emulator, arch, machine, virt, 0),
        )
        return etree.fromstring(text)

    def node(self) -> dict[str, int | str]:
        """memory_mib, free_mib, cpus, arch of the host."""
        info = self.call("node info", lambda c: c.getInfo())
        free = self.call("free memory", lambda c: c.getFreeMemory())
        return {
            "arch": info[0],
            "memory_mib": int(info[1]),
            "cpus": int(info[2]),
            "free_mib": free // 2**20,
        }

    def versions(self) -> dict[str, str]:
        """libvirt's and QEMU's versions, dotted."""
        return {
            "libvirt": _dotted(self.call("version", lambda c: c.getLibVersion())),
            "qemu": _dotted(self.call("version", lambda c: c.getVersion())),
        }

    def compare_cpu(self, xml: str) -> str:
        """`identical`, `superset` or `incompatible`: this host's CPU against a host CPU."""
        result = self.call("compare CPU", lambda c: c.compareCPU(xml, 0))
        names = {
            libvirt.VIR_CPU_COMPARE_IDENTICAL: "identical",
            libvirt.VIR_CPU_COMPARE_SUPERSET: "superset",
        }
        return names.get(result, "incompatible")

    def watch(self, name: str, sink: EventSink) -> Callable[[], None]:
        """Tell `sink` of every event of the domain called `name` here; returns what ends it.

        Life cycle and job from libvirt; QEMU's own events with the host's clock.
        """
        raw = self.raw
        ids = subscribe(raw, name, sink)
        end_monitor = watch_monitor(raw, name, sink)

        def end() -> None:
            end_monitor()
            _unsubscribe(raw, ids)

        return end

    def _domain(self, raw: Any) -> Domain:  # noqa: ANN401
        return Domain(self.host, raw)

    def _alive(self) -> bool:
        with suppress(libvirt.libvirtError):
            return bool(self._raw is not None and self._raw.isAlive() and self._raw.getHostname())
        return False

    def _open(self) -> Any:  # noqa: ANN401
        uri = self.uri.partition("?")[0]  # as a person types it: our own ssh goes with us
        events.ensure_loop()
        try:
            connection = _within(OPEN_SECONDS, lambda: libvirt.open(self.uri))
            with suppress(libvirt.libvirtError):
                connection.setKeepAlive(5, 5)
        except TimeoutError as error:
            raise ConnectionLost(
                self.host,
                f"libvirt at {uri}: no answer within {OPEN_SECONDS:g} s",
                remedy="its daemon took the connection and says nothing: restart it",
            ) from error
        except libvirt.libvirtError as error:
            raise ConnectionLost(
                self.host,
                f"libvirt at {uri}: {error}",
                remedy="is its daemon running? try `virsh -c qemu:///system version` there",
            ) from error
        return connection


def _within(seconds: float, work: Callable[[], T]) -> T:
    """Do `work`, which has no limit of its own. Raises `TimeoutError`, and leaves it to itself."""
    answer: Future[T] = Future()

    def do() -> None:
        try:
            answer.set_result(work())
        except BaseException as error:  # noqa: BLE001 - raised where the answer is awaited
            answer.set_exception(error)

    threading.Thread(target=do, daemon=True).start()
    return answer.result(seconds)


def _unsubscribe(connection: Any, ids: list[int]) -> None:  # noqa: ANN401
    for number in ids:
        with suppress(libvirt.libvirtError):
            connection.domainEventDeregisterAny(number)


def _dotted(number: int) -> str:
    return f"{number // 1_000_000}.{number // 1000 % 1000}.{number % 1000}"
