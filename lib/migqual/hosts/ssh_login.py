"""Log in to a host by SSH, through jump hosts.

The login uses keys, never a password. A host key that is not in the inventory's known_hosts is
refused.
"""

import base64
import binascii
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Self

import paramiko
from paramiko.pkey import UnknownKeyType
from paramiko.ssh_exception import IncompatiblePeer, NoValidConnectionsError

from migqual.errors import ConnectionLost, LoginRefused
from migqual.hosts.known_hosts import AuthorityOnlyError, read_known_keys
from migqual.inventory.entities import HostEntry, format_uri_host

CONNECT_SECONDS = 15.0


class JumpHostChain:
    """The SSH connections to the jump hosts of a host.

    The chain logs in to each jump host, but not to the host behind the jump hosts.
    """

    def __init__(self, host: HostEntry) -> None:
        self.host = host
        self._jump_clients: list[paramiko.SSHClient] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def open_channel(self) -> paramiko.Channel | None:
        """Open a channel to the SSH port of the host, through all jump hosts in turn.

        Returns:
            The channel; None for a host without jump hosts.

        Raises:
            ConnectionLost: A jump host refuses the login. The error names the jump host.
            EOFError: A jump host closed the connection.
        """
        channel: paramiko.Channel | None = None
        jump_hosts = [_parse_jump_host(self.host, jump_spec) for jump_spec in self.host.jump_hosts]
        for index, jump_host in enumerate(jump_hosts):
            try:
                client = log_in(jump_host, channel)
            except (OSError, EOFError, paramiko.SSHException) as error:
                raise build_connection_lost(jump_host, error) from error
            self._jump_clients.append(client)
            next_host = jump_hosts[index + 1] if index + 1 < len(jump_hosts) else self.host
            transport = client.get_transport()
            if transport is None:
                raise EOFError(f"jump host {jump_host.address} closed the connection")
            origin_address = ("127.0.0.1", 0)
            channel = transport.open_channel(
                "direct-tcpip", (resolve_ssh_address(next_host), next_host.port), origin_address
            )
        return channel

    def close(self) -> None:
        """Close the connections to the jump hosts."""
        for client in reversed(self._jump_clients):
            client.close()
        self._jump_clients = []


def log_in(host: HostEntry, channel: paramiko.Channel | None = None) -> paramiko.SSHClient:
    """Log in to a host by SSH, with the key and the known_hosts of the inventory.

    Args:
        host: The host of the inventory.
        channel: Channel through the jump hosts; None for a direct connection.

    Returns:
        The connected client.

    Raises:
        paramiko.SSHException: The host key is unknown, or the server refuses the login.
        OSError: The server is unreachable.
    """
    address = resolve_ssh_address(host)
    known_keys = read_known_keys(host.known_hosts, address, host.port)
    client = paramiko.SSHClient()
    client.set_missing_host_key_policy(known_keys)
    try:
        with _open_private_key(host.key) as private_key:
            client.connect(
                address,
                port=host.port,
                username=host.user,
                pkey=private_key,
                key_filename=_list_key_files(host),  # type: ignore[arg-type]  # accepts a list
                allow_agent=host.key is None,
                look_for_keys=False,
                timeout=CONNECT_SECONDS,
                banner_timeout=CONNECT_SECONDS,
                auth_timeout=CONNECT_SECONDS,
                sock=channel,
                disabled_algorithms={"keys": known_keys.list_unknown_types()},
            )
    except BaseException:
        client.close()
        raise
    transport = client.get_transport()
    if transport is not None:
        transport.set_keepalive(5)
    return client


def resolve_ssh_address(host: HostEntry) -> str:
    """Resolve the address of the host's SSH server.

    If the inventory names an ssh_config, `HostName` in the file replaces the address.
    """
    return str(_read_ssh_options(host).get("hostname", host.address))


@contextmanager
def _open_private_key(file: Path | None) -> Iterator[paramiko.PKey | None]:
    """Load a private key; take a key with a passphrase from the SSH agent.

    Yields:
        The key, which can be used inside the block only. None if `file` is None.

    Raises:
        paramiko.PasswordRequiredException: The key has a passphrase, and the agent does not hold
            the key.
        paramiko.SSHException: The file has no private key.
        OSError: The file cannot be read.
    """
    with ExitStack() as stack:
        try:
            key = paramiko.PKey.from_path(file) if file else None
        except (TypeError, paramiko.PasswordRequiredException) as error:
            agent = paramiko.Agent()
            stack.callback(agent.close)
            public_blob = _read_public_blob(Path(f"{file}.pub"))
            key = next((one for one in agent.get_keys() if one.asbytes() == public_blob), None)
            if key is None:
                raise paramiko.PasswordRequiredException(f"{file} has a passphrase") from error
        except (ValueError, UnknownKeyType) as error:
            raise paramiko.SSHException(f"{file} has no private key: {error}") from error
        yield key


def _read_public_blob(file: Path) -> bytes:
    """Read the public key of an OpenSSH public key file; return empty bytes without a key."""
    with suppress(OSError, IndexError, binascii.Error):
        return base64.b64decode(file.read_text(encoding="utf-8").split()[1])
    return b""


def _list_key_files(host: HostEntry) -> list[str]:
    """List the key files in the user's ssh_config; empty if the inventory names the key."""
    return [] if host.key else list(_read_ssh_options(host).get("identityfile", ()))


def _read_ssh_options(host: HostEntry) -> Mapping[str, str | list[str]]:
    """Return the options of the host in the ssh_config; empty if the host has no ssh_config."""
    if host.ssh_config is None:
        return {}
    return paramiko.SSHConfig.from_path(str(host.ssh_config)).lookup(host.address)


def _parse_jump_host(host: HostEntry, jump_spec: str) -> HostEntry:
    user, _, host_port = jump_spec.rpartition("@")
    if host_port.startswith("["):
        address, _, port = host_port[1:].partition("]")
    else:
        address, _, port = host_port.partition(":")
    return HostEntry(
        name=f"jump host {address}",
        address=address,
        known_hosts=host.known_hosts,
        port=int(port.removeprefix(":") or 22),
        user=user or host.user,
        key=host.key,
        ssh_config=host.ssh_config,
    )


def build_connection_lost(host: HostEntry, error: Exception) -> ConnectionLost:
    """Build migqual's error for a failed SSH connection, with a remedy, from paramiko's error."""
    remedies = {
        paramiko.PasswordRequiredException: f"the key {host.key} has a passphrase: run `ssh-add "
        f"{host.key}`, and store the public key in {host.key}.pub",
        IncompatiblePeer: f"{host.known_hosts} has only keys of types that the host does not have: "
        "check the host key, and add the key to the file (see ssh-keyscan)",
        AuthorityOnlyError: f"add the plain host key to {host.known_hosts} beside the "
        "@cert-authority line (ssh-keyscan, then compare the key)",
        paramiko.BadHostKeyException: f"the host key differs from {host.known_hosts}: check "
        "the host key, then correct the file",
        paramiko.AuthenticationException: f"add the public key of {host.key or 'the user'} to "
        f"authorized_keys of {host.user} on {host.name}",
    }
    remedy = next(
        (
            remedy_text
            for error_class, remedy_text in remedies.items()
            if isinstance(error, error_class)
        ),
        "",
    )
    if "not found in known_hosts" in str(error):
        remedy = f"check the host key, and add the key to {host.known_hosts} (see ssh-keyscan)"
    error_class = LoginRefused if _is_refusal(error) else ConnectionLost
    return error_class(
        host.name,
        f"SSH to {host.user}@{format_uri_host(host.address)}:{host.port}: "
        f"{describe_ssh_error(host, error)}",
        remedy=remedy
        or "check that the host is up, and that the controller can reach the SSH port",
    )


def _is_refusal(error: Exception) -> bool:
    """Return whether the server refused the login, or paramiko refused the host key.

    A timeout or a lost connection is no refusal.
    """
    if isinstance(error, paramiko.AuthenticationException):
        return "timeout" not in str(error).lower()
    is_untrusted = "not found in known_hosts" in str(error)
    return is_untrusted or isinstance(
        error, paramiko.BadHostKeyException | IncompatiblePeer | AuthorityOnlyError
    )


def describe_ssh_error(host: HostEntry, error: Exception) -> str:
    """Describe an SSH error for a message.

    If paramiko tried several addresses, the text names each address that is not in the inventory.
    An error without a message is described by the name of the Python class.
    """
    if isinstance(error, NoValidConnectionsError):
        descriptions = [
            (
                ""
                if (address, port) == (host.address, host.port)
                else f"{format_uri_host(address)}:{port}: "
            )
            + describe_ssh_error(host, cause)
            for (address, port, *_), cause in error.errors.items()
        ]
        return ", ".join(descriptions)
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower() + (f": {error.filename}" if error.filename else "")
    return str(error) or type(error).__name__
