"""What makes a root tree a particular host: written to its throw-away layer before it boots."""

from pathlib import Path

from migqual.lab.command import run
from migqual.lab.layout import (
    EXPORTS,
    NETWORKS,
    SCRATCH,
    SHARED,
    HostLayout,
    LabLayout,
)
from migqual.lab.topology import Role

# Units of no use to a lab host; without them a host is up in half the time.
MASKED = (
    "apt-daily.timer",
    "apt-daily-upgrade.timer",
    "console-getty.service",
    "dpkg-db-backup.timer",
    "e2scrub_all.timer",
    "e2scrub_reap.service",
    "fstrim.timer",
    "getty.target",
    "ldconfig.service",
    "libvirt-guests.service",
    "systemd-logind.service",
    "systemd-networkd-wait-online.service",
    "systemd-networkd.service",
    "systemd-networkd.socket",
    "systemd-resolved.service",
    "systemd-timesyncd.service",
    "systemd-update-utmp.service",
    "systemd-update-utmp-runlevel.service",
    "systemd-user-sessions.service",
    "nftables.service",
)

SSHD = """\
PermitRootLogin prohibit-password
PasswordAuthentication no
KbdInteractiveAuthentication no
UsePAM no
UseDNS no
MaxStartups 100
HostKey /etc/ssh/ssh_host_ed25519_key
"""

QEMU_CONF = """\
user = "root"
group = "root"
cgroup_controllers = [ ]
security_driver = "none"
namespaces = [ ]
migration_address = "{migration}"
"""

LIBVIRTD_CONF = """\
host_uuid = "{uuid}"
max_clients = 200
max_client_requests = 50
keepalive_interval = 5
keepalive_count = 5
"""


def make_keys(layout: LabLayout) -> None:
    """One key of the lab for logins, one host key per host, and the known_hosts file."""
    folder = layout.key.parent
    folder.mkdir(parents=True, mode=0o700)
    _keygen(layout.key, f"migqual-lab-{layout.name}")
    known = []
    for host in layout.hosts:
        key = folder / f"host_{host.name}"
        _keygen(key, host.name)
        public = " ".join(key.with_suffix(".pub").read_text().split()[:2])
        names = [host.name, *(host.addresses[name] for name in host.addresses)]
        known.append(f"{','.join(names)} {public}\n")
    layout.known_hosts.write_text("".join(known))


def furnish(layout: LabLayout, host: HostLayout) -> None:
    """Write the host's own files into its upper layer."""
    _write(host, "etc/hostname", f"{host.name}\n")
    _write(host, "etc/machine-id", f"{host.uuid.hex}\n")
    _write(host, "etc/hosts", hosts_file(layout))
    _write(host, "etc/resolv.conf", "")
    for unit in MASKED:
        link = host.upper / "etc/systemd/system" / unit
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to("/dev/null")
    _write(
        host,
        "etc/systemd/system/default.target",
        None,
        link="/lib/systemd/system/multi-user.target",
    )
    _write(host, "etc/systemd/journald.conf.d/lab.conf", "[Journal]\nStorage=volatile\nAudit=no\n")
    _furnish_ssh(layout, host)
    if host.spec.role is Role.HYPERVISOR:
        _furnish_libvirt(host)
    for folder in (SHARED, EXPORTS, SCRATCH):
        (host.upper / folder.relative_to("/")).mkdir(parents=True, exist_ok=True)


def hosts_file(layout: LabLayout) -> str:
    lines = ["127.0.0.1 localhost"]
    for host in layout.hosts:
        network = "mig" if "mig" in host.addresses else "mgmt"
        lines.append(f"{host.addresses[network]} {host.name}")
    return "\n".join(lines) + "\n"


def controller_hosts_file(layout: LabLayout) -> str:
    """Names as the controller reaches them: over the management network."""
    lines = [f"{host.addresses['mgmt']} {host.name}" for host in layout.hosts]
    return "\n".join(["127.0.0.1 localhost", *lines]) + "\n"


def controller_ssh_config(layout: LabLayout) -> str:
    """Lets `ssh HOST` and `virsh -c qemu+ssh://HOST/system` work as they are typed."""
    return f"""\
Host {" ".join(host.name for host in layout.hosts)} {NETWORKS["mgmt"]}.*
  User root
  IdentityFile {layout.key}
  IdentitiesOnly yes
  UserKnownHostsFile {layout.known_hosts}
  GlobalKnownHostsFile /dev/null
  BatchMode yes
"""


def _furnish_ssh(layout: LabLayout, host: HostLayout) -> None:
    keys = layout.key.parent
    _write(
        host, "etc/ssh/ssh_host_ed25519_key", (keys / f"host_{host.name}").read_text(), mode=0o600
    )
    _write(host, "etc/ssh/ssh_host_ed25519_key.pub", (keys / f"host_{host.name}.pub").read_text())
    _write(host, "etc/ssh/sshd_config.d/lab.conf", SSHD)
    public = layout.key.with_suffix(".pub").read_text()
    (host.upper / "root").mkdir(mode=0o700)
    _write(host, "root/.ssh/authorized_keys", public, mode=0o600)
    if host.spec.role is Role.HYPERVISOR:
        # peer-to-peer migration: the source logs in at the destination
        _write(host, "root/.ssh/id_ed25519", layout.key.read_text(), mode=0o600)
        _write(host, "root/.ssh/known_hosts", layout.known_hosts.read_text())


def _furnish_libvirt(host: HostLayout) -> None:
    migration = host.address("mig")
    _write(host, "etc/libvirt/qemu.conf", QEMU_CONF.format(migration=migration))
    _write(host, "etc/libvirt/libvirtd.conf", LIBVIRTD_CONF.format(uuid=host.uuid))
    # libvirtd leaves after two idle minutes otherwise, and starts only when asked
    _write(host, "etc/default/libvirtd", 'LIBVIRTD_ARGS=""\n')
    wants = "etc/systemd/system/multi-user.target.wants/libvirtd.service"
    _write(host, wants, None, link="/lib/systemd/system/libvirtd.service")
    # the default network would only add a bridge and a dnsmasq that nobody uses
    autostart = host.upper / "etc/libvirt/qemu/networks/autostart"
    autostart.mkdir(parents=True)


def _write(
    host: HostLayout, path: str, text: str | None, *, mode: int = 0o644, link: str = ""
) -> None:
    file = host.upper / path
    file.parent.mkdir(parents=True, exist_ok=True)
    if text is None:
        file.unlink(missing_ok=True)
        file.symlink_to(link)
        return
    file.write_text(text)
    file.chmod(mode)


def _keygen(file: Path, comment: str) -> None:
    run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", comment, "-f", file])
