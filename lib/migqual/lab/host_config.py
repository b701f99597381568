"""Write the configuration files of a lab host into the overlayfs upper layer, before the boot."""

from pathlib import Path

from migqual.lab.foreign_objects import write_foreign_objects
from migqual.lab.host_quirks import render_sshd_quirks, write_host_quirks
from migqual.lab.layout import (
    EXPORTS_FOLDER,
    NETWORK_PREFIXES,
    SCRATCH_FOLDER,
    SHARED_FOLDER,
    SHARED_FOLDER_BACKING,
    HostLayout,
    LabLayout,
)
from migqual.lab.local_command import run_local_command
from migqual.lab.login_user import create_login_user
from migqual.lab.quirks import ROOT_USER
from migqual.lab.topology import LabRole

# A lab host needs none of the units below. With the units masked the boot takes half the time.
MASKED_UNITS = (
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

SSHD_CONFIG = """\
PermitRootLogin prohibit-password
PasswordAuthentication no
KbdInteractiveAuthentication no
UsePAM no
UseDNS no
MaxStartups 100
HostKey /etc/ssh/ssh_host_ed25519_key
"""

QEMU_CONF_TEMPLATE = """\
user = "{user}"
group = "{group}"
cgroup_controllers = [ ]
security_driver = "none"
namespaces = [ ]
migration_address = "{migration}"
"""

# bindfs (FUSE) gives the shared folder the file system type `shared_folder_type` of the topology.
SHARED_FOLDER_UNIT = """\
[Unit]
Before=libvirtd.service

[Service]
Type=forking
ExecStart=/usr/bin/bindfs -o subtype={type},fsname=store:/volume,direct_io {backing} {folder}

[Install]
WantedBy=multi-user.target
"""

# The data path `netdev` needs no module of the kernel.
OVS_BRIDGE_UNIT = """\
[Unit]
After=openvswitch-switch.service
Requires=openvswitch-switch.service
Before=libvirtd.service

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/usr/bin/ovs-vsctl --may-exist add-br {bridge} -- set bridge {bridge} datapath_type=netdev
ExecStart=/usr/bin/ovs-vsctl --may-exist add-port {bridge} svc
ExecStart=/usr/sbin/ip link set {bridge} up

[Install]
WantedBy=multi-user.target
"""

# Without the setting the data path drops packets that have no checksum yet, and the virtual
# interfaces of guests and containers send such packets.
OVS_SETTINGS = """\
[Service]
ExecStartPre=/usr/bin/ovs-vsctl --no-wait set Open_vSwitch . other_config:userspace-tso-enable=true
"""

LIBVIRTD_CONF_TEMPLATE = """\
host_uuid = "{uuid}"
max_clients = 200
max_client_requests = 50
keepalive_interval = 5
keepalive_count = 5
"""


def create_ssh_keys(layout: LabLayout) -> None:
    """Create the SSH key for logins on the lab hosts, the host keys and the known_hosts file.

    Raises:
        LabError: `ssh-keygen` is not installed or failed.
    """
    folder = layout.ssh_key_file.parent
    folder.mkdir(parents=True, mode=0o700)
    _generate_key(layout.ssh_key_file, f"migqual-lab-{layout.name}")
    known_hosts_lines = []
    for host in layout.hosts:
        host_key = folder / f"host_{host.name}"
        _generate_key(host_key, host.name)
        public_key = " ".join(host_key.with_suffix(".pub").read_text().split()[:2])
        names = [host.name, *(host.addresses[name] for name in host.addresses)]
        if (port := host.spec.quirks.ssh_port) != 22:
            names = [f"[{name}]:{port}" for name in names]
        known_hosts_lines.append(f"{','.join(names)} {public_key}\n")
    layout.known_hosts_file.write_text("".join(known_hosts_lines))


def write_host_config(layout: LabLayout, host: HostLayout, rootfs: Path) -> None:
    """Write the configuration files of a lab host into the upper layer of the host's overlayfs.

    Args:
        layout: The layout of the lab.
        host: The host to configure.
        rootfs: The root file system below the upper layer. The function only reads the rootfs.
    """
    _write_host_file(host, "etc/hostname", f"{host.name}\n")
    _write_host_file(host, "etc/machine-id", f"{host.uuid.hex}\n")
    _write_host_file(host, "etc/hosts", render_hosts_file(layout))
    _write_host_file(host, "etc/resolv.conf", "")
    for unit in MASKED_UNITS:
        link = host.upper / "etc/systemd/system" / unit
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to("/dev/null")
    _write_host_file(
        host,
        "etc/systemd/system/default.target",
        None,
        link_target="/lib/systemd/system/multi-user.target",
    )
    _write_host_file(
        host, "etc/systemd/journald.conf.d/lab.conf", "[Journal]\nStorage=volatile\nAudit=no\n"
    )
    _write_ssh_config(layout, host, rootfs)
    if host.spec.role is LabRole.HYPERVISOR:
        _write_libvirt_config(host)
        _write_shared_folder_unit(host)
        if host.spec.quirks.has_ovs_bridge:
            bridge = host.spec.quirks.service_bridge
            _write_unit(host, "service-bridge.service", OVS_BRIDGE_UNIT.format(bridge=bridge))
            settings_file = "etc/systemd/system/ovs-vswitchd.service.d/lab.conf"
            _write_host_file(host, settings_file, OVS_SETTINGS)
    for folder in (SHARED_FOLDER, EXPORTS_FOLDER, SCRATCH_FOLDER):
        (host.upper / folder.relative_to("/")).mkdir(parents=True, exist_ok=True)
    write_host_quirks(host.upper, rootfs, host.spec.quirks)
    if host.spec.quirks.has_foreign_guest:
        write_foreign_objects(host.upper)


def render_hosts_file(layout: LabLayout) -> str:
    """Render the file /etc/hosts that every host of the lab gets.

    The file maps each host name to the migration address of the host. If a host has no migration
    address, the file contains the management address.
    """
    lines = ["127.0.0.1 localhost"]
    for host in layout.hosts:
        network = "mig" if "mig" in host.addresses else "mgmt"
        lines.append(f"{host.addresses[network]} {host.name}")
    return "\n".join(lines) + "\n"


def render_controller_hosts_file(layout: LabLayout) -> str:
    """Render /etc/hosts for the controller, with the management address of each lab host."""
    lines = [f"{host.addresses['mgmt']} {host.name}" for host in layout.hosts]
    return "\n".join(["127.0.0.1 localhost", *lines]) + "\n"


def render_controller_ssh_config(layout: LabLayout) -> str:
    """Render the SSH client configuration for the controller.

    With this configuration, `ssh HOST` and `virsh -c qemu+ssh://HOST/system` need no options.
    """
    host_blocks = "".join(_render_ssh_host_block(layout, host) for host in layout.hosts)
    return f"""\
{host_blocks}Host {" ".join(host.name for host in layout.hosts)} {NETWORK_PREFIXES["mgmt"]}*
  IdentityFile {layout.ssh_key_file}
  IdentitiesOnly yes
  UserKnownHostsFile {layout.known_hosts_file}
  GlobalKnownHostsFile /dev/null
  BatchMode yes
"""


def _render_ssh_host_block(layout: LabLayout, host: HostLayout) -> str:
    quirks = host.spec.quirks
    lines = [
        f"Host {host.name} {host.get_address('mgmt')}",
        # a jump host may map the host name to another address than the management address
        f"  HostName {host.get_address('mgmt')}",
        f"  User {quirks.login_user}",
        f"  Port {quirks.ssh_port}",
    ]
    if quirks.jump_host is not None:
        lines.append(f"  ProxyJump {layout.get_host(quirks.jump_host).jump_address}")
    return "".join(f"{line}\n" for line in lines)


def _write_ssh_config(layout: LabLayout, host: HostLayout, rootfs: Path) -> None:
    keys_folder = layout.ssh_key_file.parent
    _write_host_file(
        host,
        "etc/ssh/ssh_host_ed25519_key",
        (keys_folder / f"host_{host.name}").read_text(),
        mode=0o600,
    )
    _write_host_file(
        host,
        "etc/ssh/ssh_host_ed25519_key.pub",
        (keys_folder / f"host_{host.name}.pub").read_text(),
    )
    _write_host_file(
        host, "etc/ssh/sshd_config.d/lab.conf", render_sshd_quirks(host.spec.quirks) + SSHD_CONFIG
    )
    public_key = layout.ssh_key_file.with_suffix(".pub").read_text()
    (host.upper / "root").mkdir(mode=0o700)
    if host.spec.quirks.login_user == ROOT_USER:
        _write_host_file(host, "root/.ssh/authorized_keys", public_key, mode=0o600)
    else:
        create_login_user(host.upper, rootfs, host.spec.quirks.login_user, public_key)
    if host.spec.role is LabRole.HYPERVISOR:
        # peer-to-peer migration: the source logs in at the destination
        _write_host_file(host, "root/.ssh/id_ed25519", layout.ssh_key_file.read_text(), mode=0o600)
        _write_host_file(host, "root/.ssh/known_hosts", layout.known_hosts_file.read_text())


def _write_libvirt_config(host: HostLayout) -> None:
    migration_address = host.get_address("mig")
    user = host.spec.quirks.qemu_user
    qemu_conf = QEMU_CONF_TEMPLATE.format(
        migration=migration_address, user=user, group="root" if user == "root" else "kvm"
    )
    _write_host_file(host, "etc/libvirt/qemu.conf", qemu_conf)
    _write_host_file(
        host,
        "etc/libvirt/libvirtd.conf",
        LIBVIRTD_CONF_TEMPLATE.format(uuid=host.libvirt_uuid),
    )
    # Without the file libvirtd exits after two idle minutes and starts again only on a connection.
    _write_host_file(host, "etc/default/libvirtd", 'LIBVIRTD_ARGS=""\n')
    wants_link = "etc/systemd/system/multi-user.target.wants/libvirtd.service"
    _write_host_file(host, wants_link, None, link_target="/lib/systemd/system/libvirtd.service")
    # No autostart of the default network: no guest would use the network's bridge and dnsmasq.
    autostart_folder = host.upper / "etc/libvirt/qemu/networks/autostart"
    autostart_folder.mkdir(parents=True)


def _write_shared_folder_unit(host: HostLayout) -> None:
    folder_type = host.spec.quirks.shared_folder_type
    if folder_type is None:
        return
    unit = SHARED_FOLDER_UNIT.format(
        type=folder_type, backing=SHARED_FOLDER_BACKING, folder=SHARED_FOLDER
    )
    _write_unit(host, "shared-folder.service", unit)


def _write_unit(host: HostLayout, name: str, text: str) -> None:
    """Write a unit of systemd that the host starts at boot."""
    _write_host_file(host, f"etc/systemd/system/{name}", text)
    wants_link = f"etc/systemd/system/multi-user.target.wants/{name}"
    _write_host_file(host, wants_link, None, link_target=f"/etc/systemd/system/{name}")


def _write_host_file(
    host: HostLayout, path: str, text: str | None, *, mode: int = 0o644, link_target: str = ""
) -> None:
    file = host.upper / path
    file.parent.mkdir(parents=True, exist_ok=True)
    if text is None:
        file.unlink(missing_ok=True)
        file.symlink_to(link_target)
        return
    file.write_text(text)
    file.chmod(mode)


def _generate_key(file: Path, comment: str) -> None:
    run_local_command(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", comment, "-f", file])
