"""The variables of an inventory file: their names, types and defaults.

Every variable has a default here, so that one wrong value does not hide what is wrong with the
others; which of them must be given is checked in `migqual.model.inventory_checks`.
"""

from typing import Annotated, Literal

from pydantic import Field

from migqual.model.fields import (
    Address,
    Addresses,
    AddressOrName,
    Bridge,
    JumpHosts,
    LocalPath,
    Name,
    Number,
    PeerUri,
    Port,
    Ports,
    ProxyJump,
    RemotePath,
    SingleAddress,
    Target,
)
from migqual.model.inventory import (
    DEFAULT_PEER_URI,
    DEFAULT_SCRATCH,
    Acceleration,
    Certificates,
    StoreKind,
    Tier,
    Transport,
)
from migqual.model.yamlfile import StrictModel


class HostVariables(StrictModel):
    """What may stand on a host, a group, or `all`; the nearest to the host is in force."""

    ansible_host: AddressOrName = ""
    ansible_port: Port = 22
    ansible_user: Name = "root"
    ansible_ssh_private_key_file: LocalPath | None = None
    ansible_ssh_common_args: ProxyJump = ()
    migqual_known_hosts: LocalPath | None = None
    migqual_ssh_config: LocalPath | None = None
    migqual_jump_hosts: JumpHosts = ()
    migqual_uri_transport: Transport = Transport.SSH
    migqual_migration_address: Address | None = None
    migqual_service_bridge: Bridge | None = None
    migqual_scratch: RemotePath = DEFAULT_SCRATCH
    migqual_emulator: RemotePath | None = None
    migqual_peer_uri: PeerUri = DEFAULT_PEER_URI
    migqual_certificates: Certificates = Certificates.ISSUED


class ServiceNetworkEntry(StrictModel):
    addresses: Addresses
    prefix: Annotated[Number, Field(ge=1, le=128)]
    gateway: SingleAddress | None = None


class AllVariables(StrictModel):
    """What may stand in `all.vars` only, less the pairs and stores."""

    migqual_client: Name | None = None
    migqual_service_network: ServiceNetworkEntry | None = None
    migqual_tier: Tier = Tier.REAL
    migqual_acceleration: Acceleration = Acceleration.AUTO
    migqual_guest_cpu: Name | None = None
    migqual_expected_acceleration: Acceleration | None = None


class PairEntry(StrictModel):
    source: Name
    destination: Name
    twin_of: Name | None = None


class DirectoryEntry(StrictModel):
    kind: Literal[StoreKind.DIRECTORY]
    name: Name
    path: RemotePath
    hosts: tuple[Name, ...] | None = None


class NbdEntry(StrictModel):
    kind: Literal[StoreKind.NBD]
    name: Name
    server: Name
    address: AddressOrName | None = None
    directory: RemotePath
    ports: Ports = range(10809, 10900)


class IscsiEntry(StrictModel):
    kind: Literal[StoreKind.ISCSI]
    name: Name
    server: Name
    address: AddressOrName | None = None
    port: Port = 3260
    target: Target
    directory: RemotePath


class LocalEntry(StrictModel):
    kind: Literal[StoreKind.LOCAL]
    name: Name
    path: RemotePath


StoreEntry = DirectoryEntry | NbdEntry | IscsiEntry | LocalEntry
STORE_ENTRIES: dict[str, type[StoreEntry]] = {
    StoreKind.DIRECTORY: DirectoryEntry,
    StoreKind.NBD: NbdEntry,
    StoreKind.ISCSI: IscsiEntry,
    StoreKind.LOCAL: LocalEntry,
}
