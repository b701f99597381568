"""Commands of migqual and of libvirt run on a host as root: by a login as root, or by sudo."""

import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from migqual.errors import LoginUnusable
from migqual.hosts import ssh_command, ssh_config
from migqual.inventory.entities import HostEntry

pytestmark = pytest.mark.selftest

HOST = HostEntry(name="h1", address="192.0.2.1", known_hosts=Path("/known_hosts"))
SUDO_HOST = replace(HOST, user="admin", become=True)
LIBVIRT_COMMAND = "sh -c 'nc -U /run/libvirt/libvirt-sock'"


def test_command_line_quotes_the_arguments() -> None:
    assert ssh_command.render_command_line(HOST, ("cat", "a b")) == "umask 022; exec cat 'a b'"


def test_command_line_of_another_user_uses_sudo() -> None:
    """If the login user is not root, the command line runs the command with `sudo -n --`.

    The option `-n` forbids sudo to ask for a password. `--` ends the options of sudo.
    """
    command_line = ssh_command.render_command_line(SUDO_HOST, ("cat", "-n", "a"))

    assert command_line == "umask 022; exec sudo -n -- cat -n a"


@pytest.mark.parametrize(
    ("host", "output", "error_output", "message_part"),
    [
        (HOST, b"Welcome to h1\n0\n", "", "prints 14 bytes before each command: 'Welcome to h1'"),
        (HOST, b"1000\n", "", "commands run as the user id 1000, not as root"),
        (SUDO_HOST, b"", "x\nsudo: a password is required", "sudo: a password is required"),
        (SUDO_HOST, b"", "bash: line 1: exec: sudo: not found", "sudo: not found"),
        (HOST, b"", "", "the command `id -u` fails: no output"),
    ],
)
def test_unusable_login_has_reason_and_remedy(
    host: HostEntry, output: bytes, error_output: str, message_part: str
) -> None:
    with pytest.raises(LoginUnusable) as caught:
        ssh_command.check_id_output(host, 0, output, error_output)

    assert message_part in caught.value.message
    assert caught.value.remedy


def test_root_login_without_other_output_is_usable() -> None:
    ssh_command.check_id_output(HOST, 0, b"0\n", "a warning of sudo")


@pytest.mark.parametrize(
    ("host", "expected_command"),
    [(HOST, LIBVIRT_COMMAND), (SUDO_HOST, f"sudo -n -- {LIBVIRT_COMMAND}")],
)
def test_ssh_of_libvirt_becomes_root(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, host: HostEntry, expected_command: str
) -> None:
    """The script that libvirt starts in place of ssh passes all arguments of libvirt to ssh.

    If the login user is not root, the script adds sudo to the last argument, which is the command
    for the host. The other arguments stay unchanged.
    """
    ssh = tmp_path / "ssh"
    ssh.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    wrapper = tmp_path / "wrapper"
    wrapper.write_text(ssh_config.render_ssh_wrapper(host, Path("/a b/config")))
    for file in (ssh, wrapper):
        file.chmod(0o700)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")

    arguments = ["-T", "-e", "none", "--", "192.0.2.1", LIBVIRT_COMMAND]
    result = subprocess.run([wrapper, *arguments], capture_output=True, text=True, check=True)

    assert result.stdout.splitlines() == ["-F", "/a b/config", *arguments[:-1], expected_command]


def test_jump_host_has_the_key_and_the_known_hosts_file(tmp_path: Path) -> None:
    """The key and the known_hosts file of a host also apply to its jump host."""
    config_file = tmp_path / "config"
    host = replace(HOST, key=Path("/keys/one"), jump_hosts=("me@198.51.100.1:2222",))
    config_file.write_text(ssh_config.render_ssh_config(host))

    options = subprocess.run(
        ["ssh", "-G", "-F", config_file, "198.51.100.1"], capture_output=True, text=True, check=True
    ).stdout.splitlines()

    assert {"identityfile /keys/one", "userknownhostsfile /known_hosts"} <= set(options)
    assert not [option for option in options if option.startswith("proxyjump")]
