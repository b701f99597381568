"""Logging in to a host by SSH, through its jump hosts.

Keys only; a host key that the inventory's known_hosts does not hold is refused.
"""

from collections.abc import Mapping
from typing import Self

import paramiko
from paramiko.hostkeys import InvalidHostKey
from paramiko.ssh_exception import NoValidConnectionsError

from migqual.errors import ConnectionLost
from migqual.model.inventory import Host

CONNECT_SECONDS = 15.0


class Way:
    """The way to a host's SSH port; nobody is logged in at its end."""

    def __init__(self, host: Host) -> None:
        self.host = host
        self._jumps: list[paramiko.SSHClient] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def open(self) -> paramiko.Channel | None:
        """A channel through the jump hosts, outermost first; None where there are none.

        Raises `ConnectionLost` with the name of the jump host that does not let us in.
        """
        channel: paramiko.Channel | None = None
        targets = [_jump_host(self.host, words) for words in self.host.jump_hosts]
        for number, jump in enumerate(targets):
            try:
                client = login(jump, channel)
            except (OSError, EOFError, paramiko.SSHException) as error:
                raise lost(jump, error) from error
            self._jumps.append(client)
            following = targets[number + 1] if number + 1 < len(targets) else self.host
            transport = client.get_transport()
            if transport is None:
                raise EOFError(f"jump host {jump.address} closed the connection")
            origin = ("127.0.0.1", 0)
            channel = transport.open_channel(
                "direct-tcpip", (address(following), following.port), origin
            )
        return channel

    def close(self) -> None:
        for client in reversed(self._jumps):
            client.close()
        self._jumps = []


def login(host: Host, channel: paramiko.Channel | None = None) -> paramiko.SSHClient:
    """Log in with the key and the known_hosts of the inventory; never with a password."""
    client = paramiko.SSHClient()
    try:
        client.load_host_keys(str(host.known_hosts))
    except InvalidHostKey as error:
        raise paramiko.SSHException(f"no host key in {host.known_hosts}: {error.line!r}") from error
    client.set_missing_host_key_policy(paramiko.RejectPolicy())
    try:
        client.connect(
            address(host),
            port=host.port,
            username=host.user,
            key_filename=_keys(host),  # type: ignore[arg-type]  # takes several
            allow_agent=host.key is None,
            look_for_keys=False,
            timeout=CONNECT_SECONDS,
            banner_timeout=CONNECT_SECONDS,
            auth_timeout=CONNECT_SECONDS,
            sock=channel,
        )
    except BaseException:
        client.close()
        raise
    transport = client.get_transport()
    if transport is not None:
        transport.set_keepalive(5)
    return client


def address(host: Host) -> str:
    """Where its SSH server listens, by the user's ssh_config where the inventory names one."""
    return str(_options(host).get("hostname", host.address))


def _keys(host: Host) -> list[str]:
    """The private keys to try: the inventory's, or those that the user's ssh_config names."""
    return [str(host.key)] if host.key else list(_options(host).get("identityfile", ()))


def _options(host: Host) -> Mapping[str, str | list[str]]:
    """What the user's ssh_config says of the host; the keys are a list."""
    if host.ssh_config is None:
        return {}
    return paramiko.SSHConfig.from_path(str(host.ssh_config)).lookup(host.address)


def _jump_host(host: Host, words: str) -> Host:
    user, _, place = words.rpartition("@")
    address, _, port = place.partition(":")
    return Host(
        name=f"jump host {address}",
        address=address,
        known_hosts=host.known_hosts,
        port=int(port or 22),
        user=user or host.user,
        key=host.key,
        ssh_config=host.ssh_config,
    )


def lost(host: Host, error: Exception) -> ConnectionLost:
    """The error to raise for what paramiko or the system said, with a remedy."""
    remedies = {
        paramiko.BadHostKeyException: f"the host's key differs from {host.known_hosts}",
        paramiko.AuthenticationException: f"add the public part of {host.key} to the host's "
        "authorized_keys",
    }
    remedy = next((words for kind, words in remedies.items() if isinstance(error, kind)), "")
    if "not found in known_hosts" in str(error):
        remedy = f"check the host's key and add it to {host.known_hosts} (ssh-keyscan)"
    return ConnectionLost(
        host.name,
        f"SSH to {host.user}@{host.address}:{host.port}: {words_of(host, error)}",
        remedy=remedy or "is the host up, and its SSH port reachable from here?",
    )


def words_of(host: Host, error: Exception) -> str:
    """What went wrong, without Python's names for it where there are others. Addresses that are not
    the host's own are told."""
    if isinstance(error, NoValidConnectionsError):
        told = [
            ("" if at == (host.address, host.port) else f"{at[0]}:{at[1]}: ") + words_of(host, one)
            for at, one in error.errors.items()
        ]
        return ", ".join(told)
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower() + (f": {error.filename}" if error.filename else "")
    return str(error) or type(error).__name__
