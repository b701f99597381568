"""Probe which logins a host's SSH server accepts, with authentication requests of RFC 4252."""

import os
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import paramiko

from migqual.errors import HostError
from migqual.hosts.ssh_login import (
    CONNECT_SECONDS,
    JumpHostChain,
    build_connection_lost,
    log_in,
    resolve_ssh_address,
)
from migqual.hosts.ssh_penalties import LEDGER, parse_version_settings
from migqual.inventory.entities import HostEntry

PASSWORD_METHODS = frozenset({"password", "keyboard-interactive"})


@contextmanager
def _open_transport(host: HostEntry) -> Iterator[paramiko.Transport]:
    """Open a connection to the SSH server without a host key check and without a login."""
    with JumpHostChain(host) as jump_chain:
        try:
            ssh_address = (resolve_ssh_address(host), host.port)
            transport = paramiko.Transport(
                jump_chain.open_channel() or socket.create_connection(ssh_address, CONNECT_SECONDS)
            )
        except (OSError, EOFError, paramiko.SSHException) as error:
            raise build_connection_lost(host, error) from error
        try:
            transport.start_client(timeout=CONNECT_SECONDS)
            if not LEDGER.knows_settings(host):
                LEDGER.set_settings(host, parse_version_settings(transport.remote_version))
            yield transport
        except (OSError, EOFError, paramiko.SSHException) as error:
            raise HostError(host.name, f"SSH: {type(error).__name__}: {error}") from error
        finally:
            transport.close()


def probe_auth_methods(host: HostEntry) -> tuple[frozenset[str], bool]:
    """Probe the authentication methods of the SSH server.

    Returns:
        The methods that the server offers besides `publickey`, and whether the server accepts a
        newly generated key.

    Raises:
        HostError: The connection to the server fails.
    """
    LEDGER.wait_before_failed_login(host)
    with _open_transport(host) as transport:
        methods = _query_auth_methods(transport, host.user)
        accepts_unknown_key = False
        with suppress(paramiko.AuthenticationException):
            transport.auth_publickey(host.user, paramiko.ECDSAKey.generate())
            accepts_unknown_key = True
        return methods - {"publickey"}, accepts_unknown_key


def accepts_unknown_host_key(host: HostEntry) -> bool:
    """Check whether migqual logs in to a host whose key is unknown (empty known_hosts file).

    Returns:
        False when migqual refuses the unknown host key.

    Raises:
        HostError: SSH fails for a reason other than the unknown host key.
        ConnectionLost: The server is unreachable.
    """
    LEDGER.wait_before_unused_connection(host)
    descriptor, known_hosts_path = tempfile.mkstemp(prefix="migqual-known-hosts-")
    os.close(descriptor)
    try:
        with JumpHostChain(host) as jump_chain:
            log_in(
                replace(host, known_hosts=Path(known_hosts_path)), jump_chain.open_channel()
            ).close()
    except paramiko.SSHException as error:
        if "not found in known_hosts" in str(error):
            return False
        raise HostError(host.name, f"SSH: {error}") from error
    except (OSError, EOFError) as error:
        raise build_connection_lost(host, error) from error
    finally:
        Path(known_hosts_path).unlink()
    return True


def _query_auth_methods(transport: paramiko.Transport, user: str) -> frozenset[str]:
    """Query the methods that the server offers; `none` means a login without authentication."""
    try:
        transport.auth_none(user)
    except paramiko.BadAuthenticationType as error:
        return frozenset(error.allowed_types)
    return frozenset({"none"})
