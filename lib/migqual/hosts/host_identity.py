"""Compare the identities of two hosts. libvirt refuses a migration if the identities are equal."""

from dataclasses import dataclass

EQUAL_IDENTITY_REMEDY = (
    "give each host a different host_uuid in libvirtd.conf and a different host name"
)


@dataclass(frozen=True)
class HostIdentity:
    """The UUID and the host name of a host. libvirt compares both before a migration.

    Attributes:
        uuid: Value of ``host_uuid`` in libvirtd.conf, or the UUID from the firmware.
        hostname: Name of the host.
    """

    uuid: str
    hostname: str

    def find_equal_part(self, other: "HostIdentity") -> str:
        """Describe the UUID or host name that two hosts have in common; else an empty text."""
        if self.uuid and self.uuid == other.uuid:
            return f"UUID {self.uuid}"
        return f"host name {self.hostname}" if self.hostname == other.hostname else ""
