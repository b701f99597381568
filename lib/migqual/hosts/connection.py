"""Call libvirt on a host, and turn the errors of libvirt into errors of migqual.

The calls are described in libvirt's public API: https://libvirt.org/html/index.html
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
from migqual.hosts import event_loop
from migqual.hosts.domain import Domain, DomainState
from migqual.hosts.domain_events import DomainEventHub, EventCallback
from migqual.hosts.host_identity import HostIdentity

T = TypeVar("T")

OPEN_SECONDS = 60.0
_CONNECTION_ERROR_CODES = {
    libvirt.VIR_ERR_INTERNAL_ERROR,
    libvirt.VIR_ERR_SYSTEM_ERROR,
    libvirt.VIR_ERR_RPC,
    libvirt.VIR_ERR_NO_CONNECT,
    libvirt.VIR_ERR_INVALID_CONN,
}


class Connection:
    """A libvirt connection to a host.

    The first call opens the connection. If the connection is lost, each call tries once to open
    the connection again.

    Attributes:
        uri: The libvirt URI of the host.
    """

    def __init__(self, host: str, uri: str, check_login: Callable[[], None] = lambda: None) -> None:
        self.host = host
        self.uri = uri
        self._check_login = check_login
        self._raw: Any = None
        self._event_hub: tuple[Any, DomainEventHub] | None = None
        self._lock = threading.RLock()

    def close(self) -> None:
        """Close the connection and ignore errors of libvirt."""
        with self._lock:
            if self._raw is not None:
                with suppress(libvirt.libvirtError):
                    self._raw.close()
                self._raw = None

    @property
    def raw(self) -> Any:  # noqa: ANN401 - the binding is untyped
        """Return the connection as an object of the libvirt binding.

        If the connection is closed or lost, the method opens a new connection. Use the object for
        libvirt calls with two connections, e.g. virDomainMigrate3.

        Raises:
            ConnectionLost: libvirt refuses the connection, or does not answer within
                `OPEN_SECONDS`.
        """
        with self._lock:
            if self._raw is None or not self._raw.isAlive():
                self._raw = self._open_connection()
            return self._raw

    def call_libvirt(self, action: str, function: Callable[[Any], T]) -> T:
        """Call `function` with the open connection.

        If the connection was lost, the method connects again and repeats the call once.

        Args:
            action: Name of the action for error messages, for example `find domain`.
            function: Receives the connection object of the libvirt binding.

        Returns:
            The result of the function.

        Raises:
            HostError: libvirt refuses the call on a working connection.
            ConnectionLost: The connection was lost, and the new connection or the second call
                fails.
        """
        try:
            return function(self.raw)
        except libvirt.libvirtError as error:
            if error.get_error_code() not in _CONNECTION_ERROR_CODES or self._is_alive():
                raise HostError(self.host, f"{action}: {error}") from error
            self.close()
        try:
            return function(self.raw)
        except libvirt.libvirtError as error:
            raise ConnectionLost(
                self.host,
                f"{action}: {error}",
                remedy=f"check that libvirt's daemon runs on {self.host}",
            ) from error

    def define_domain(self, xml: str) -> Domain:
        """Define a persistent domain. libvirt validates the XML."""
        flags = libvirt.VIR_DOMAIN_DEFINE_VALIDATE
        return self._wrap_domain(
            self.call_libvirt("define domain", lambda c: c.defineXMLFlags(xml, flags))
        )

    def create_domain(self, xml: str) -> Domain:
        """Start a transient domain. libvirt validates the XML."""
        flags = libvirt.VIR_DOMAIN_START_VALIDATE
        return self._wrap_domain(
            self.call_libvirt("create domain", lambda c: c.createXML(xml, flags))
        )

    def restore_domain(self, path: PurePosixPath) -> None:
        """Restore the domain from the save file `path` on the host (virDomainRestore)."""
        self.call_libvirt(f"restore domain from {path}", lambda c: c.restore(str(path)))

    def find_domain(self, name: str) -> Domain | None:
        """Return the domain with the name `name`, or None if the host has no such domain."""

        def find_raw_domain(connection: Any) -> Any:  # noqa: ANN401
            try:
                return connection.lookupByName(name)
            except libvirt.libvirtError as error:
                if error.get_error_code() == libvirt.VIR_ERR_NO_DOMAIN:
                    return None
                raise

        raw_domain = self.call_libvirt(f"find domain {name}", find_raw_domain)
        return None if raw_domain is None else self._wrap_domain(raw_domain)

    def list_domain_states(self) -> dict[str, DomainState]:
        """List the state of every domain on the host, by domain name."""
        raw_domains = self.call_libvirt("list domains", lambda c: c.listAllDomains(0))
        return {
            raw_domain.name(): Domain(self.host, raw_domain).query_state()
            for raw_domain in raw_domains
        }

    def query_capabilities(self) -> etree._Element:
        """Query the capabilities of the host as XML (virConnectGetCapabilities)."""
        return etree.fromstring(
            self.call_libvirt("query capabilities", lambda c: c.getCapabilities())
        )

    def query_domain_capabilities(
        self, *, emulator: str | None, arch: str, machine: str, virt_type: str
    ) -> etree._Element:
        """Query the domain capabilities of an emulator (virConnectGetDomainCapabilities).

        Args:
            emulator: Path of QEMU; None selects libvirt's default.
            arch: Architecture, for example `x86_64`.
            machine: Machine type, for example `q35`.
            virt_type: Domain type: `kvm` or `qemu`.

        Returns:
            The `domainCapabilities` element.
        """
        capabilities_xml: str = self.call_libvirt(
            "query domain capabilities",
            lambda c: c.getDomainCapabilities(emulator, arch, machine, virt_type, 0),
        )
        return etree.fromstring(capabilities_xml)

    def query_identity(self) -> HostIdentity:
        """Query the UUID and the host name of the host from libvirt."""
        uuid = self.query_capabilities().findtext("host/uuid") or ""
        return HostIdentity(uuid, self.call_libvirt("query host name", lambda c: c.getHostname()))

    def query_node_info(self) -> dict[str, int | str]:
        """Query the architecture, CPUs and memory of the host.

        Returns:
            A dictionary with the keys `arch`, `cpus`, `memory_mib` and `free_mib`.

        Raises:
            HostError: libvirt refuses a call.
        """
        node_info = self.call_libvirt("query node info", lambda c: c.getInfo())
        free_bytes = self.call_libvirt("query free memory", lambda c: c.getFreeMemory())
        if not free_bytes:  # the binding reports an error as 0
            raise HostError(self.host, f"query free memory: {libvirt.virGetLastErrorMessage()}")
        return {
            "arch": node_info[0],
            "memory_mib": int(node_info[1]),
            "cpus": int(node_info[2]),
            "free_mib": free_bytes // 2**20,
        }

    def query_libvirt_version(self) -> tuple[int, ...]:
        """Query the version of libvirt on the host, e.g. ``(9, 0, 0)``."""
        return tuple(int(part) for part in self.query_versions()["libvirt"].split("."))

    def query_versions(self) -> dict[str, str]:
        """Query the versions on the host, e.g. ``{"libvirt": "9.0.0", "qemu": "7.2.0"}``."""
        return {
            "libvirt": _format_version(
                self.call_libvirt("query libvirt version", lambda c: c.getLibVersion())
            ),
            "qemu": _format_version(
                self.call_libvirt("query QEMU version", lambda c: c.getVersion())
            ),
        }

    def compare_cpu(self, xml: str) -> str:
        """Compare the CPU of the host with the CPU of a peer (virConnectCompareCPU).

        Args:
            xml: The `cpu` element in the capabilities of the peer.

        Returns:
            `identical`, `superset` (the host has more features than the peer) or
            `incompatible`.
        """
        result = self.call_libvirt("compare CPU", lambda c: c.compareCPU(xml, 0))
        result_names = {
            libvirt.VIR_CPU_COMPARE_IDENTICAL: "identical",
            libvirt.VIR_CPU_COMPARE_SUPERSET: "superset",
        }
        return result_names.get(result, "incompatible")

    def watch_domain_events(self, domain_name: str, on_event: EventCallback) -> Callable[[], None]:
        """Call `on_event` for every event of a domain on the host.

        The events are the life-cycle and job events of libvirt, and the events of QEMU.

        Args:
            domain_name: Name of the domain. The domain may be created later.
            on_event: Function with four arguments: name of the event, detail, time at which the
                controller received the event (`time.monotonic`, in s), and time of the event on
                the host's clock in µs. The last argument is None for an event of libvirt.

        Returns:
            A function that ends the calls of `on_event`.
        """
        with self._lock:
            raw = self.raw
            if self._event_hub is None or self._event_hub[0] is not raw:
                self._event_hub = (raw, DomainEventHub(raw))
            return self._event_hub[1].watch(domain_name, on_event)

    def _wrap_domain(self, raw: Any) -> Domain:  # noqa: ANN401
        return Domain(self.host, raw)

    def is_still_open(self, raw: Any) -> bool:  # noqa: ANN401
        """Return whether the connection object `raw` is open, and no new connection replaced it.

        A subscription to events ends with its connection, so False means that events can be lost.

        Args:
            raw: An object that the property `raw` returned earlier.
        """
        return raw is self._raw and self._is_alive()

    def _is_alive(self) -> bool:
        with suppress(libvirt.libvirtError):
            return bool(self._raw is not None and self._raw.isAlive() and self._raw.getHostname())
        return False

    def _open_connection(self) -> Any:  # noqa: ANN401
        self._check_login()
        uri = self.uri.partition("?")[0]  # without the temporary SSH wrapper
        event_loop.ensure_event_loop()
        try:
            raw_connection = _run_with_timeout(OPEN_SECONDS, lambda: libvirt.open(self.uri))
            with suppress(libvirt.libvirtError):
                raw_connection.setKeepAlive(5, 5)
        except TimeoutError as error:
            raise ConnectionLost(
                self.host,
                f"libvirt at {uri}: no answer within {OPEN_SECONDS:g} s",
                remedy=f"restart libvirt's daemon on {self.host}",
            ) from error
        except libvirt.libvirtError as error:
            raise ConnectionLost(
                self.host,
                f"libvirt at {uri}: {error}",
                remedy="check libvirt's daemon with `virsh -c qemu:///system version` on "
                f"{self.host}",
            ) from error
        return raw_connection


def _run_with_timeout(seconds: float, function: Callable[[], T]) -> T:
    """Run `function` in a thread, and wait at most `seconds` for the result.

    Raises:
        TimeoutError: `function` has no result after `seconds`. The thread continues.
    """
    future: Future[T] = Future()

    def run_function() -> None:
        try:
            future.set_result(function())
        except BaseException as error:  # noqa: BLE001 - `future.result` raises the error
            future.set_exception(error)

    threading.Thread(target=run_function, daemon=True).start()
    return future.result(seconds)


def _format_version(version_number: int) -> str:
    return f"{version_number // 1_000_000}.{version_number // 1000 % 1000}.{version_number % 1000}"
