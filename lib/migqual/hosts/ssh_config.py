"""Render the SSH configuration and the libvirt URI of a host, without a connection."""

import shlex
from pathlib import Path

from migqual.inventory.entities import HostEntry, Transport, format_uri_host


def render_ssh_config(host: HostEntry) -> str:
    """Render an ssh_config for a host: only keys, checked host keys, no prompts."""
    lines = [
        f"Host {host.address}",
        f"  HostName {host.address}",
        f"  Port {host.port}",
        f"  User {host.user}",
        f"  UserKnownHostsFile {host.known_hosts}",
        "  GlobalKnownHostsFile /dev/null",
        "  StrictHostKeyChecking yes",
        "  BatchMode yes",
        "  PasswordAuthentication no",
        "  ConnectTimeout 10",
        "  ServerAliveInterval 5",
    ]
    if host.key is not None:
        lines += [f"  IdentityFile {host.key}", "  IdentitiesOnly yes"]
    if host.jump_hosts:
        lines.append(f"  ProxyJump {','.join(host.jump_hosts)}")
    if host.ssh_config is not None:
        lines = [*lines, "Match all", f"  Include {host.ssh_config}"]
    return "\n".join(lines) + "\n"


def render_ssh_wrapper(config_file: Path) -> str:
    """Render the script for libvirt to start in place of ssh, with `config_file`."""
    return f'#!/bin/sh\nexec ssh -F {shlex.quote(str(config_file))} "$@"\n'


def build_libvirt_uri(host: HostEntry, ssh_program: Path | None) -> str:
    """Build the URI of libvirt on `host` for the controller.

    Args:
        host: The host of the inventory.
        ssh_program: Program for libvirt to start in place of ssh; None keeps ssh.

    Returns:
        A `qemu+ssh` or `qemu+tls` URI.
    """
    address = format_uri_host(host.address)
    if host.uri_transport is Transport.TLS:
        return f"qemu+tls://{address}/system"
    port = "" if host.port == 22 else f":{host.port}"
    query = f"?command={ssh_program}" if ssh_program else ""
    return f"qemu+ssh://{host.user}@{address}{port}/system{query}"
