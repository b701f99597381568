"""Compare the UUIDs and the names of two hosts.

libvirt refuses a migration between hosts with the same UUID or the same host name.
"""

from dataclasses import dataclass

EQUAL_IDENTITY_REMEDY = (
    "give each host a different host_uuid in libvirtd.conf and a different host name"
)


@dataclass(frozen=True)
class HostIdentity:
    """The UUID and the host name by which libvirt recognizes a host.

    Attributes:
        uuid: Value of ``host_uuid`` in libvirtd.conf, or the UUID from the firmware.
        hostname: Name of the host.
    """

    uuid: str
    hostname: str

    def find_equal_part(self, other: "HostIdentity") -> str:
        """Return a text with the UUID or host name that both hosts have, or an empty text."""
        if self.uuid and self.uuid == other.uuid:
            return f"UUID {self.uuid}"
        return f"host name {self.hostname}" if self.hostname == other.hostname else ""
