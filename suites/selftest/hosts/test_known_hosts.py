"""Host keys from a known_hosts file: what `ssh` accepts, migqual accepts."""

import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import paramiko
import pytest

from migqual.deadline import Deadline
from migqual.errors import LoginRefused
from migqual.hosts.known_hosts import read_known_keys
from migqual.hosts.ssh_login import build_connection_lost, log_in
from migqual.inventory.entities import HostEntry

pytestmark = pytest.mark.selftest

ECDSA_KEY, OTHER_ECDSA_KEY = paramiko.ECDSAKey.generate(), paramiko.ECDSAKey.generate()
RSA_KEY, OTHER_RSA_KEY = paramiko.RSAKey.generate(2048), paramiko.RSAKey.generate(2048)


def render_line(names: str, key: paramiko.PKey) -> str:
    return f"{names} {key.get_name()} {key.get_base64()}\n"


@pytest.fixture
def ssh_port() -> Iterator[int]:
    """Yield the port of an SSH server with an ECDSA key and an RSA key. No login succeeds."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve_logins, args=(listener,), daemon=True)
        thread.start()
        yield listener.getsockname()[1]


def serve_logins(listener: socket.socket) -> None:
    """Serve each connection in its own thread, so that a broken connection ends no other."""
    with suppress(OSError):
        while True:
            connection = listener.accept()[0]
            threading.Thread(target=serve_login, args=(connection,), daemon=True).start()


def serve_login(connection: socket.socket) -> None:
    transport = paramiko.Transport(connection)
    for key in (ECDSA_KEY, RSA_KEY):
        transport.add_server_key(key)
    with suppress(EOFError, OSError, paramiko.SSHException):  # the client can end at any moment
        transport.start_server(server=paramiko.ServerInterface())
    transport.join(10)
    transport.close()


def log_in_with(tmp_path: Path, port: int, known_hosts: str) -> Exception:
    """Try a login with a new key, and return the error. The test server refuses every user key."""
    file, key_file = tmp_path / "known_hosts", tmp_path / "key"
    file.write_text(known_hosts)
    paramiko.ECDSAKey.generate().write_private_key_file(str(key_file))
    host = HostEntry(name="h", address="127.0.0.1", known_hosts=file, port=port, key=key_file)
    with pytest.raises(paramiko.SSHException) as caught:
        log_in(host)
    return caught.value


@pytest.mark.parametrize(
    "lines",
    [
        [("[127.0.0.1]:PORT", ECDSA_KEY)],
        [("127.0.0.1", ECDSA_KEY)],
        [("127.0.0.*,!127.0.0.9", ECDSA_KEY)],
        [("[127.0.0.1]:PORT", RSA_KEY)],
        [("[127.0.0.1]:PORT", OTHER_RSA_KEY), ("[127.0.0.1]:PORT", RSA_KEY)],
        [("192.0.2.1", OTHER_ECDSA_KEY), ("[127.0.0.1]:PORT", ECDSA_KEY)],
    ],
    ids=["port", "no-port", "pattern", "second-type", "two-of-a-type", "other-host"],
)
def test_trusted_host_key_is_accepted(
    tmp_path: Path, ssh_port: int, lines: list[tuple[str, paramiko.PKey]]
) -> None:
    """The host key is accepted. Then the login fails, because the server refuses every user key."""
    text = "".join(render_line(name.replace("PORT", str(ssh_port)), key) for name, key in lines)

    error = log_in_with(tmp_path, ssh_port, text)

    assert isinstance(error, paramiko.AuthenticationException), error


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ([("127.0.0.1", OTHER_ECDSA_KEY)], "does not match"),
        ([("192.0.2.1", ECDSA_KEY)], "not found in known_hosts"),
        ([("!127.0.0.1,127.0.0.*", ECDSA_KEY)], "not found in known_hosts"),
        ([("127.0.0.1", ECDSA_KEY), ("@revoked *", ECDSA_KEY)], "does not match"),
        ([("@cert-authority *", ECDSA_KEY)], "does not check host certificates"),
    ],
    ids=["changed", "unknown", "negated", "revoked", "authority"],
)
def test_other_host_key_is_refused(
    tmp_path: Path, ssh_port: int, lines: list[tuple[str, paramiko.PKey]], message: str
) -> None:
    error = log_in_with(tmp_path, ssh_port, "".join(render_line(*line) for line in lines))

    assert message in str(error)


def test_certificate_authority_alone_is_refused_with_its_own_remedy(
    tmp_path: Path, ssh_port: int
) -> None:
    """
    If known_hosts has only a certificate authority for a host, the error has its own remedy.

    Preconditions: a line ``@cert-authority`` with a pattern that matches the host.
    Expected: the error says that migqual's SSH client does not check certificates, and asks for
    the plain host key. If the line is for other hosts only, the error is the usual one: no key
    of the host was found.
    """
    authority_line = f"@cert-authority {render_line('127.0.0.*', RSA_KEY)}"
    error = log_in_with(tmp_path, ssh_port, authority_line)
    entry = HostEntry("h", "127.0.0.1", tmp_path / "known_hosts", port=ssh_port)
    refusal = build_connection_lost(entry, error)

    assert isinstance(refusal, LoginRefused)
    assert "does not check host certificates" in refusal.message
    assert "add the plain host key" in refusal.remedy

    other_line = f"@cert-authority {render_line('*.example.org', RSA_KEY)}"
    assert "not found in known_hosts" in str(log_in_with(tmp_path, ssh_port, other_line))


def test_hashed_name_is_found(tmp_path: Path) -> None:
    file = tmp_path / "known_hosts"
    hashed_name = paramiko.HostKeys.hash_host("127.0.0.1")
    file.write_text(render_line(hashed_name, RSA_KEY))

    assert read_known_keys(file, "127.0.0.1", 22).trusted == (RSA_KEY,)


def test_key_with_a_passphrase_has_its_own_remedy(tmp_path: Path, ssh_port: int) -> None:
    """The remedy for a private key with a passphrase is `ssh-add`: migqual cannot read the key."""
    file, key_file = tmp_path / "known_hosts", tmp_path / "key"
    file.write_text(render_line("127.0.0.1", ECDSA_KEY))
    paramiko.ECDSAKey.generate().write_private_key_file(str(key_file), password="secret")  # noqa: S106
    host = HostEntry(name="h", address="127.0.0.1", known_hosts=file, port=ssh_port, key=key_file)

    with pytest.raises(paramiko.PasswordRequiredException) as caught:
        log_in(host)

    assert f"ssh-add {key_file}" in build_connection_lost(host, caught.value).remedy


def test_key_with_a_passphrase_is_taken_from_the_agent(
    tmp_path: Path, ssh_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If the SSH agent has the key, migqual uses the agent and does not need the passphrase.

    The test server refuses every user key. So the expected error is a refused key, and not a
    missing passphrase.
    """
    file, key_file, plain_file = (tmp_path / name for name in ("known_hosts", "key", "plain"))
    file.write_text(render_line("127.0.0.1", ECDSA_KEY))
    key = paramiko.ECDSAKey.generate()
    key.write_private_key_file(str(key_file), password="secret")  # noqa: S106
    key.write_private_key_file(str(plain_file))
    plain_file.chmod(0o600)
    (tmp_path / "key.pub").write_text(f"{key.get_name()} {key.get_base64()}\n")
    host = HostEntry(name="h", address="127.0.0.1", known_hosts=file, port=ssh_port, key=key_file)
    agent_socket = tmp_path / "agent"
    monkeypatch.setenv("SSH_AUTH_SOCK", str(agent_socket))

    with subprocess.Popen(["ssh-agent", "-D", "-a", agent_socket], stdout=subprocess.PIPE) as agent:
        Deadline(10).wait_for("socket of the agent", agent_socket.exists)
        subprocess.run(["ssh-add", "-q", plain_file], check=True)
        try:
            with pytest.raises(paramiko.AuthenticationException) as caught:
                log_in(host)
        finally:
            agent.terminate()

    assert not isinstance(caught.value, paramiko.PasswordRequiredException)
