"""Build the seed volume with which cloud-init prepares a cloud image as a guest of migqual."""

import ipaddress
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from migqual.errors import UsageError
from migqual.image import build_cache, iso

FORMAT_VERSION = 3
VOLUME_LABEL = "CIDATA"
_SERVICE_UNIT = """\
[Unit]
Description=Loads and integrity checks of a migration test
DefaultDependencies=no

[Service]
ExecStart=/usr/local/sbin/migqual-payload serve --port {port}
Restart=no
"""
# The script runs at every boot as soon as the network is up, long before cloud-init ends. So the
# script does not need to enable a unit, and systemd finds a new unit without a reload. Under TCG,
# enabling a unit takes 10 s, and a reload takes 10 s. Fedora and related distributions forbid
# guest-exec in /etc/sysconfig/qemu-ga, so the script removes this rule. The unit of the guest agent
# reads the file at each start.
_INSTALL_SCRIPT = """\
set -e
place=$(mktemp -d)
mount -o ro -L {label} "$place"
install -m 0755 "$place/migqual-payload" /usr/local/sbin/migqual-payload
mkdir -p /run/systemd/system
cp "$place/migqual.service" /run/systemd/system/migqual-payload.service
umount "$place"
rmdir "$place"
ln -sf /usr/local/sbin/migqual-payload /bin/migqual-payload
rules=/etc/sysconfig/qemu-ga
if grep -qsE '^(BLACKLIST_RPC|BLOCK_RPCS|FILTER_RPC_ARGS)=' $rules; then
    sed -i -E '/^(BLACKLIST_RPC|BLOCK_RPCS|FILTER_RPC_ARGS)=/d' $rules
    systemctl try-restart --no-block qemu-guest-agent.service
fi
systemctl start --no-block migqual-payload.service qemu-guest-agent.service
"""


def ensure_seed_volume(
    hostname: str,
    networks: Sequence[tuple[str, str]],
    payload: Path,
    *,
    cache: Path,
    port: int = 7007,
    gateway: str = "",
) -> Path:
    """Return the path of a guest's NoCloud seed volume; build the volume if the cache has none.

    The volume has the format ISO 9660 and the label CIDATA. Attach the volume as a disk or a
    virtio-scsi CD-ROM: cloud kernels have no SATA driver.

    During the boot of the guest, cloud-init finds each NIC by its MAC address and sets the IP
    address. cloud-init also starts the program `migqual-payload` as a service. The guest agent gets
    permission to run commands.

    Args:
        hostname: Host name of the guest.
        networks: A tuple (MAC, "ADDRESS/PREFIX") for each NIC. (MAC, "") is a NIC without an IP
            address.
        payload: Path of the static program `migqual-payload`, which the volume contains.
        cache: Root folder of the cache.
        port: TCP port on which `migqual-payload` accepts the connection of the client.
        gateway: IP address of the default gateway, for the first NIC. "" means no gateway.

    Raises:
        UsageError: An address of `networks` is not valid.
    """
    files = {
        "meta-data": _encode_yaml(
            {"instance-id": f"migqual-{hostname}", "local-hostname": hostname}
        ),
        "user-data": b"#cloud-config\n"
        + _encode_yaml({"bootcmd": [["sh", "-c", _INSTALL_SCRIPT.format(label=VOLUME_LABEL)]]}),
        "network-config": _encode_yaml(_build_network_config(networks, gateway)),
        "migqual-payload": payload.read_bytes(),
        "migqual.service": _SERVICE_UNIT.format(port=port).encode(),
    }
    volume = iso.build_iso_volume(VOLUME_LABEL, files)
    key = build_cache.compute_key("seed", FORMAT_VERSION, volume)

    def write_volume(partial_path: Path) -> None:
        partial_path.write_bytes(volume)

    return build_cache.ensure_cached(cache / "seed" / f"{key}.iso", write_volume)


def _encode_yaml(value: dict[str, Any]) -> bytes:
    """Encode the value as JSON, which is also valid YAML."""
    return json.dumps(value, indent=1).encode() + b"\n"


def _build_network_config(networks: Sequence[tuple[str, str]], gateway: str) -> dict[str, Any]:
    """Build the network configuration for cloud-init, in format version 1.

    With version 1 every release of cloud-init finds a NIC by the MAC address, on every
    distribution.
    """
    interfaces = []
    for index, (mac, address) in enumerate(networks):
        subnet = _build_subnet(address, "" if index else gateway)
        nic = {"type": "physical", "name": f"mq{index}", "mac_address": mac.lower()}
        interfaces.append({**nic, "subnets": [subnet]})
    return {"version": 1, "config": interfaces}


def _build_subnet(address: str, gateway: str) -> dict[str, str]:
    if not address:
        return {"type": "manual"}
    try:
        ipaddress.ip_interface(address)
    except ValueError as error:
        raise UsageError(
            f"the address {address!r} of a NIC is not an IP address with a prefix length",
            remedy="write ADDRESS/PREFIX, for example 10.77.3.100/24",
        ) from error
    return {"type": "static", "address": address, **({"gateway": gateway} if gateway else {})}
