"""What the SSH server of a host lets in, tried out: RFC 4252 authentication requests."""

import os
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import paramiko

from migqual.errors import HostError
from migqual.hosts.login import CONNECT_SECONDS, Way, address, login, lost
from migqual.model.inventory import Host

PASSWORDS = frozenset({"password", "keyboard-interactive"})


@contextmanager
def _server(host: Host) -> Iterator[paramiko.Transport]:
    """The server, its host key not looked at, nobody logged in."""
    with Way(host) as way:
        try:
            port = (address(host), host.port)
            transport = paramiko.Transport(
                way.open() or socket.create_connection(port, CONNECT_SECONDS)
            )
        except (OSError, EOFError, paramiko.SSHException) as error:
            raise lost(host, error) from error
        try:
            transport.start_client(timeout=CONNECT_SECONDS)
            yield transport
        except (OSError, EOFError, paramiko.SSHException) as error:
            raise HostError(host.name, f"SSH: {type(error).__name__}: {error}") from error
        finally:
            transport.close()


def strangers(host: Host) -> tuple[frozenset[str], bool]:
    """What the server offers besides keys, and whether it takes a key that was made just now.

    Raises `HostError` when the server cannot be spoken to.
    """
    with _server(host) as transport:
        methods = _methods(transport, host.user)
        taken = False
        with suppress(paramiko.AuthenticationException):
            transport.auth_publickey(host.user, paramiko.ECDSAKey.generate())
            taken = True
        return methods - {"publickey"}, taken


def greets_strangers(host: Host) -> bool:
    """Whether we go on although the known_hosts file does not hold the host's key."""
    descriptor, name = tempfile.mkstemp(prefix="migqual-known-hosts-")
    os.close(descriptor)
    try:
        with Way(host) as way:
            login(replace(host, known_hosts=Path(name)), way.open()).close()
    except paramiko.SSHException as error:
        if "not found in known_hosts" in str(error):
            return False
        raise HostError(host.name, f"SSH: {error}") from error
    except (OSError, EOFError) as error:
        raise lost(host, error) from error
    finally:
        Path(name).unlink()
    return True


def _methods(transport: paramiko.Transport, user: str) -> frozenset[str]:
    """The methods that the server names when asked for none; `none` when that let us in."""
    try:
        transport.auth_none(user)
    except paramiko.BadAuthenticationType as error:
        return frozenset(error.allowed_types)
    return frozenset({"none"})
