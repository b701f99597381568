"""Pure: how OpenSSH and libvirt's ssh transport are told what the inventory says."""

import shlex
from pathlib import Path

from migqual.model.inventory import Host, Transport, bracketed


def config(host: Host) -> str:
    """An ssh_config for one host: keys only, host keys checked, nothing asked."""
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


def wrapper(config_file: Path) -> str:
    """A program that libvirt starts in place of ssh, with our configuration."""
    return f'#!/bin/sh\nexec ssh -F {shlex.quote(str(config_file))} "$@"\n'


def libvirt_uri(host: Host, command: Path | None) -> str:
    """The URI by which the controller reaches libvirt on `host`."""
    address = bracketed(host.address)
    if host.uri_transport is Transport.TLS:
        return f"qemu+tls://{address}/system"
    port = "" if host.port == 22 else f":{host.port}"
    query = f"?command={command}" if command else ""
    return f"qemu+ssh://{host.user}@{address}{port}/system{query}"
