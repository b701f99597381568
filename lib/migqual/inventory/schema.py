"""Define the schema of an inventory file: names, types and defaults of the variables.

Every variable has a default, so one wrong value does not hide problems of other variables.
`migqual.inventory.checks` finds missing values that must be given.
"""

from typing import Annotated, Literal

from pydantic import Field

from migqual.architecture import Architecture
from migqual.inventory.entities import (
    DEFAULT_PEER_URI,
    DEFAULT_SCRATCH_FOLDER,
    DEFAULT_USER,
    Acceleration,
    CertificateSource,
    Tier,
    Transport,
)
from migqual.inventory.field_types import (
    Addresses,
    AddressOrHostname,
    InterfaceName,
    IpAddressText,
    IscsiName,
    JumpHosts,
    LocalPath,
    Name,
    PeerUri,
    Port,
    PortRange,
    PowerCommand,
    ProxyJump,
    RemotePath,
    SingleAddress,
    WholeNumber,
)
from migqual.inventory.guest_size import GuestSizes
from migqual.inventory.stores import StoreKind
from migqual.yaml_file import StrictModel


class HostVariables(StrictModel):
    """Variables of a host. The variables can be set for the host, for a group, or for `all`."""

    ansible_host: AddressOrHostname = ""
    ansible_port: Port = 22
    ansible_user: Name = DEFAULT_USER
    ansible_become: bool = False
    ansible_ssh_private_key_file: LocalPath | None = None
    ansible_ssh_common_args: ProxyJump = ()
    migqual_known_hosts: LocalPath | None = None
    migqual_ssh_config: LocalPath | None = None
    migqual_jump_hosts: JumpHosts = ()
    migqual_uri_transport: Transport = Transport.SSH
    migqual_migration_address: IpAddressText | None = None
    migqual_service_bridge: InterfaceName | None = None
    migqual_scratch: RemotePath = DEFAULT_SCRATCH_FOLDER
    migqual_emulator: RemotePath | None = None
    migqual_peer_uri: PeerUri = DEFAULT_PEER_URI
    migqual_certificates: CertificateSource | None = None
    migqual_exclusive: bool = False
    migqual_power_command: PowerCommand = ""


class ServiceNetworkSchema(StrictModel):
    """The value of `migqual_service_network`, with guest addresses, prefix length and gateway."""

    addresses: Addresses
    prefix: Annotated[WholeNumber, Field(ge=1, le=128)]
    gateway: SingleAddress | None = None


class AllVariables(StrictModel):
    """Variables that can only be set in `all.vars`. Pairs and stores have their own schemas."""

    migqual_client: Name | None = None
    migqual_service_network: ServiceNetworkSchema | None = None
    migqual_tier: Tier = Tier.REAL
    migqual_acceleration: Acceleration = Acceleration.AUTO
    migqual_guest_architecture: Architecture | None = None
    migqual_guest_cpu: Name | None = None
    migqual_guests: GuestSizes = ()
    migqual_expected_acceleration: Acceleration | None = None


class PairSchema(StrictModel):
    """An entry of `migqual_pairs`.

    If the entry is a replica, which runs a share of the tests of another pair, `replica_of` is the
    id of the other pair.
    """

    source: Name
    destination: Name
    replica_of: Name | None = None


class DirectoryStoreSchema(StrictModel):
    """An entry of `migqual_stores` for a directory that several hosts share.

    Without `hosts`, all hypervisors share the directory.
    """

    kind: Literal[StoreKind.DIRECTORY]
    name: Name
    path: RemotePath
    hosts: tuple[Name, ...] | None = None


class NbdStoreSchema(StrictModel):
    """An entry of `migqual_stores` for disk images on an NBD server."""

    kind: Literal[StoreKind.NBD]
    name: Name
    server: Name
    address: AddressOrHostname | None = None
    directory: RemotePath
    ports: PortRange = range(10809, 10900)


class IscsiStoreSchema(StrictModel):
    """An entry of `migqual_stores` for disk images on an iSCSI server."""

    kind: Literal[StoreKind.ISCSI]
    name: Name
    server: Name
    address: AddressOrHostname | None = None
    port: Port = 3260
    target: IscsiName
    directory: RemotePath


class LocalStoreSchema(StrictModel):
    """An entry of `migqual_stores` for a directory that is separate on each hypervisor."""

    kind: Literal[StoreKind.LOCAL]
    name: Name
    path: RemotePath


StoreSchema = DirectoryStoreSchema | NbdStoreSchema | IscsiStoreSchema | LocalStoreSchema
STORE_SCHEMAS: dict[str, type[StoreSchema]] = {
    StoreKind.DIRECTORY: DirectoryStoreSchema,
    StoreKind.NBD: NbdStoreSchema,
    StoreKind.ISCSI: IscsiStoreSchema,
    StoreKind.LOCAL: LocalStoreSchema,
}
