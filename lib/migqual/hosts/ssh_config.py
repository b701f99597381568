"""Render the SSH configuration and the libvirt URI of a host, without a connection."""

import shlex
from pathlib import Path

from migqual.hosts.ssh_command import SUDO_ARGUMENTS
from migqual.inventory.entities import HostEntry, Transport, format_uri_host

_COMMON_OPTIONS = (
    "  GlobalKnownHostsFile /dev/null",
    "  StrictHostKeyChecking yes",
    "  BatchMode yes",
    "  PasswordAuthentication no",
    "  ConnectTimeout 10",
    "  ServerAliveInterval 5",
)
# libvirt passes the command for the host as the last argument: only this argument gets sudo.
_SUDO_WRAPPER = """\
arguments_left=$#
for argument do
    shift
    arguments_left=$((arguments_left - 1))
    [ $arguments_left -gt 0 ] || argument="{sudo} $argument"
    set -- "$@" "$argument"
done
"""


def render_ssh_config(host: HostEntry) -> str:
    """Render the file with the options of `ssh` for a host.

    With the options, `ssh` logs in only with a key, refuses unknown host keys, and asks no
    questions. For the jump hosts, `ssh` uses the same key and the same known_hosts file.
    """
    lines = [
        f"Host {host.address}",
        f"  HostName {host.address}",
        f"  Port {host.port}",
        f"  User {host.user}",
    ]
    if host.jump_hosts:
        lines.append(f"  ProxyJump {','.join(host.jump_hosts)}")
    lines += ["Host *", f"  UserKnownHostsFile {host.known_hosts}", *_COMMON_OPTIONS]
    if host.key is not None:
        lines += [f"  IdentityFile {host.key}", "  IdentitiesOnly yes"]
    if host.ssh_config is not None:
        lines = [*lines, "Match all", f"  Include {host.ssh_config}"]
    return "\n".join(lines) + "\n"


def render_ssh_wrapper(host: HostEntry, config_file: Path) -> str:
    """Render a shell script that libvirt starts in place of `ssh`.

    If the inventory requests ``sudo`` for the host, the script adds ``sudo`` to libvirt's command.

    Args:
        host: The host of the inventory.
        config_file: File with the configuration from `render_ssh_config`.
    """
    become = _SUDO_WRAPPER.format(sudo=" ".join(SUDO_ARGUMENTS)) if host.become else ""
    return f'#!/bin/sh\n{become}exec ssh -F {shlex.quote(str(config_file))} "$@"\n'


def build_libvirt_uri(host: HostEntry, ssh_program: Path | None) -> str:
    """Build the libvirt URI with which the controller connects to `host`.

    Args:
        host: The host of the inventory.
        ssh_program: Program that libvirt starts in place of `ssh`; None for `ssh`.

    Returns:
        A `qemu+ssh` or `qemu+tls` URI.
    """
    address = format_uri_host(host.address)
    if host.uri_transport is Transport.TLS:
        return f"qemu+tls://{address}/system"
    port = "" if host.port == 22 else f":{host.port}"
    query = f"?command={ssh_program}" if ssh_program else ""
    return f"qemu+ssh://{host.user}@{address}{port}/system{query}"
