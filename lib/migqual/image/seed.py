"""What cloud-init needs to make a guest of ours out of a distribution's image."""

import ipaddress
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from migqual.errors import UsageError
from migqual.image import iso, store

FORMAT = 3
LABEL = "CIDATA"
_UNIT = """\
[Unit]
Description=Loads and integrity checks of a migration test
DefaultDependencies=no

[Service]
ExecStart=/usr/local/sbin/migqual-payload serve --port {port}
Restart=no
"""
# Runs at every boot as soon as the network is up, long before cloud-init is done; so nothing has to
# be enabled, and systemd finds a new unit without a reload: emulated, either costs 10 s. Fedora's
# relatives forbid guest-exec in that file; the agent's unit reads it at each start.
_INSTALL = """\
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


def cloud_seed(
    hostname: str,
    networks: Sequence[tuple[str, str]],
    payload: Path,
    *,
    cache: Path,
    port: int = 7007,
    gateway: str = "",
) -> Path:
    """A NoCloud seed volume (ISO 9660, label CIDATA) for one guest, kept in the cache.

    networks    (MAC, "ADDRESS/PREFIX" or "" for a link without address), one per NIC
    payload     the static program; it travels on the seed and runs as a systemd service
    gateway     the first NIC's default route

    The guest gets the addresses by MAC, the payload as `migqual-payload.service`, and an agent
    that may run commands. Present it as a disk or a virtio-scsi CD-ROM: kernels of the cloud
    flavour have no SATA. Raises `UsageError` for an address that is none.
    """
    files = {
        "meta-data": _yaml({"instance-id": f"migqual-{hostname}", "local-hostname": hostname}),
        "user-data": b"#cloud-config\n"
        + _yaml({"bootcmd": [["sh", "-c", _INSTALL.format(label=LABEL)]]}),
        "network-config": _yaml(_network_config(networks, gateway)),
        "migqual-payload": payload.read_bytes(),
        "migqual.service": _UNIT.format(port=port).encode(),
    }
    data = iso.volume(LABEL, files)
    key = store.key_of("seed", FORMAT, data)

    def make(half: Path) -> None:
        half.write_bytes(data)

    return store.ensure(cache / "seed" / f"{key}.iso", make)


def _yaml(value: dict[str, Any]) -> bytes:
    """JSON, which is YAML too and needs no library to be well-formed."""
    return json.dumps(value, indent=1).encode() + b"\n"


def _network_config(networks: Sequence[tuple[str, str]], gateway: str) -> dict[str, Any]:
    """Version 1: every renderer of every cloud-init in use matches it by MAC."""
    config = []
    for at, (mac, address) in enumerate(networks):
        subnet = _subnet(address, "" if at else gateway)
        nic = {"type": "physical", "name": f"mq{at}", "mac_address": mac.lower()}
        config.append({**nic, "subnets": [subnet]})
    return {"version": 1, "config": config}


def _subnet(address: str, gateway: str) -> dict[str, str]:
    if not address:
        return {"type": "manual"}
    try:
        ipaddress.ip_interface(address)
    except ValueError as error:
        raise UsageError(f"{address!r} is not an address with a prefix length") from error
    return {"type": "static", "address": address, **({"gateway": gateway} if gateway else {})}
