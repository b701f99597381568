"""Define the quirks of lab hosts: properties of real hosts that a lab host imitates."""

from typing import Annotated
from uuid import UUID

from pydantic import Field

from migqual.lab.topology_types import AbsolutePath, HostName
from migqual.yaml_file import StrictModel

DEFAULT_SERVICE_BRIDGE = "br-svc"
ROOT_USER = "root"


class HostQuirks(StrictModel):
    """Properties of real hosts that a lab host with Debian can imitate.

    Attributes:
        umask: umask of logins and commands, as octal digits.
        ssh_port: Port of the SSH server.
        has_sftp: Whether the SSH server has the SFTP subsystem.
        emulator: The only path of QEMU, e.g. ``/usr/libexec/qemu-kvm``. None keeps Debian's path.
        has_firmware_descriptors: Whether QEMU's firmware descriptors are installed.
        qemu_user: User of the QEMU processes.
        qemu_conf_target: File to which ``/etc/libvirt/qemu.conf`` is a symbolic link. With None,
            ``qemu.conf`` is a regular file.
        locale: Locale of the system and of logins, e.g. ``zh_CN.UTF-8``. None keeps Debian's
            locale.
        login_user: User for SSH logins. If the user is not root, the user may use ``sudo``, and
            root cannot log in.
        login_shell_text: Text that the login shell prints before the output of each command.
        jump_host: Lab host through which the controller must log in. None allows direct logins.
        service_bridge: Name of the bridge that connects guests to the service network.
        service_bridge_type: ``linux``, or ``openvswitch`` for a bridge of Open vSwitch.
        host_uuid: UUID of the host for libvirt. With None, each host has a different UUID.
        shared_folder_type: File system type of the shared folder, as the host sees the folder.
            libvirt trusts ``glusterfs`` as shared storage. None keeps the type of the machine's
            file system, which libvirt does not trust as shared storage.
        has_foreign_guest: Whether the host has a running guest and files that do not belong to
            migqual.
    """

    umask: Annotated[str, Field(pattern="^0?[0-7]{3}$")] = "022"
    ssh_port: Annotated[int, Field(gt=0, lt=65536)] = 22
    has_sftp: bool = True
    emulator: AbsolutePath | None = None
    has_firmware_descriptors: bool = True
    qemu_user: Annotated[str, Field(pattern="^(root|libvirt-qemu)$")] = "root"
    qemu_conf_target: AbsolutePath | None = None
    locale: Annotated[str, Field(pattern=r"^[A-Za-z_]+\.[A-Za-z0-9-]+$")] | None = None
    login_user: Annotated[str, Field(pattern="^[a-z][a-z0-9]{0,15}$")] = ROOT_USER
    login_shell_text: str = ""
    jump_host: HostName | None = None
    service_bridge: Annotated[str, Field(pattern="^[a-z][a-z0-9-]{0,14}$")] = DEFAULT_SERVICE_BRIDGE
    service_bridge_type: Annotated[str, Field(pattern="^(linux|openvswitch)$")] = "linux"
    host_uuid: UUID | None = None
    shared_folder_type: Annotated[str, Field(pattern="^glusterfs$")] | None = None
    has_foreign_guest: bool = False

    @property
    def packages(self) -> tuple[str, ...]:
        """Return the names of the Debian packages that a lab host needs to imitate a real host.

        For example, a lab host with `shared_folder_type` needs `bindfs`.
        """
        needs = {
            "sudo": self.login_user != ROOT_USER,
            "bindfs": self.shared_folder_type is not None,
            "openvswitch-switch": self.has_ovs_bridge,
        }
        return tuple(package for package, is_needed in needs.items() if is_needed)

    @property
    def has_ovs_bridge(self) -> bool:
        """Return whether the service bridge is a bridge of Open vSwitch."""
        return self.service_bridge_type == "openvswitch"
