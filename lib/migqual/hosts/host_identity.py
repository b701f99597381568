"""The identity of a host for libvirt, which refuses a migration between equal identities."""

from dataclasses import dataclass

EQUAL_IDENTITY_REMEDY = "set separate values of host_uuid in libvirtd.conf, and separate host names"


@dataclass(frozen=True)
class HostIdentity:
    """UUID and host name of a host, as libvirt compares them before a migration.

    Attributes:
        uuid: From ``host_uuid`` of libvirtd.conf, or from the firmware of the machine.
        hostname: Name of the host.
    """

    uuid: str
    hostname: str

    def find_equal_part(self, other: "HostIdentity") -> str:
        """Describe the part that both identities have; empty for separate identities."""
        if self.uuid and self.uuid == other.uuid:
            return f"UUID {self.uuid}"
        return f"host name {self.hostname}" if self.hostname == other.hostname else ""
