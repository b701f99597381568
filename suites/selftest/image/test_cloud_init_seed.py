"""Linux can read a seed (the ISO volume for cloud-init); a seed has the tasks of cloud-init."""

import json
import struct
from pathlib import Path
from typing import Any

import pytest

from migqual.errors import LabError, UsageError
from migqual.image import iso
from migqual.image.cloud_init_seed import ensure_seed_volume

pytestmark = pytest.mark.selftest
MAC_ADDRESS = "52:54:00:AA:00:01"


def _read_volume_files(volume: bytes) -> dict[str, bytes]:
    """Return the contents of the files in an ISO 9660 volume, by file name.

    The volume descriptor states where the root directory is. The names in the result are the names
    that Linux shows: in lower case, and without the suffix ``;1``.
    """
    assert volume[0x8000:0x8007] == b"\1CD001\1"
    sector, size = struct.unpack_from("<I4xI", volume, 0x8000 + 156 + 2)
    directory, files = volume[sector * 2048 : sector * 2048 + size], {}
    while directory and directory[0]:
        record, directory = directory[: directory[0]], directory[directory[0] :]
        first_sector, length = struct.unpack_from("<I4xI", record, 2)
        name = record[33 : 33 + record[32]]
        if name not in (b"\0", b"\1"):
            file_name = name.decode().lower().removesuffix(";1")
            files[file_name] = volume[first_sector * 2048 : first_sector * 2048 + length]
    return files


@pytest.fixture
def fake_payload(tmp_path: Path) -> Path:
    """Create a fake payload of 6003 bytes, which fill two sectors and a part of a third sector."""
    path = tmp_path / "program"
    path.write_bytes(b"ELF" * 2001)
    return path


def _build_seed_files(cache: Path, fake_payload: Path, **overrides: Any) -> dict[str, bytes]:  # noqa: ANN401 - keywords
    networks = [(MAC_ADDRESS, "10.9.0.5/24"), ("52:54:00:aa:00:02", "")]
    arguments = {"hostname": "g1", "networks": networks, "payload": fake_payload, **overrides}
    path = ensure_seed_volume(**arguments, cache=cache)
    return _read_volume_files(path.read_bytes())


def test_iso_volume_keeps_all_files() -> None:
    """
    An ISO volume keeps names and contents of all files, also of empty files.

    Expected: the label is set, and the size of the volume is a whole number of sectors. ISO 9660
    stores the size twice, in little-endian and in big-endian byte order; both numbers are correct.
    The order of the files has no effect on the volume.
    """
    files = {"user-data": b"x" * 5000, "meta-data": b"", "a.b": bytes(2048)}
    volume = iso.build_iso_volume("CIDATA", files)
    assert _read_volume_files(volume) == files
    assert volume[0x8028:0x8048] == b"CIDATA".ljust(32)
    sectors = len(volume) // 2048
    assert volume[0x8050:0x8058] == struct.pack("<I", sectors) + struct.pack(">I", sectors)
    assert len(volume) % 2048 == 0
    assert iso.build_iso_volume("CIDATA", dict(reversed(files.items()))) == volume


def test_too_many_files_raise_lab_error() -> None:
    """
    If the root directory of an ISO volume does not fit into a sector, the volume is not built.

    Preconditions: 60 files.
    Expected: `LabError`, instead of a volume without some of the files.
    """
    with pytest.raises(LabError, match="too many"):
        iso.build_iso_volume("CIDATA", {f"file-{number:03}": b"" for number in range(60)})


def test_a_seed_configures_network_payload_and_agent(tmp_path: Path, fake_payload: Path) -> None:
    """
    A seed (the volume for cloud-init) sets the host name and the IP addresses of a guest, and
    contains the payload.

    Preconditions: a guest with two NICs; the second NIC has no IP address.
    Expected: a static IP address with gateway for the MAC address of the first NIC, and no IP
    address for the second NIC; the bytes of the payload; a systemd unit that starts the payload
    with the requested port; a command that starts the guest agent.
    """
    files = _build_seed_files(tmp_path, fake_payload, port=7070, gateway="10.9.0.1")
    assert files["migqual-payload"] == fake_payload.read_bytes()
    assert b"serve --port 7070\n" in files["migqual.service"]
    assert json.loads(files["meta-data"])["local-hostname"] == "g1"
    first_line, _, user_data = files["user-data"].partition(b"\n")
    assert first_line == b"#cloud-config"
    assert "qemu-guest-agent" in json.loads(user_data)["bootcmd"][0][2]
    first_nic, second_nic = json.loads(files["network-config"])["config"]
    assert first_nic["mac_address"] == MAC_ADDRESS.lower()
    assert first_nic["subnets"] == [
        {"type": "static", "address": "10.9.0.5/24", "gateway": "10.9.0.1"}
    ]
    assert second_nic["subnets"] == [{"type": "manual"}]


def test_seed_is_named_after_its_contents(tmp_path: Path, fake_payload: Path) -> None:
    """
    The file name of a seed (the volume for cloud-init) depends on the contents: equal guests
    share a seed, different guests do not.

    Preconditions: three requests, two of them for the same host name.
    Expected: two files.
    """
    for hostname in ("g1", "g2", "g1"):
        ensure_seed_volume(hostname, [(MAC_ADDRESS, "10.9.0.5/24")], fake_payload, cache=tmp_path)
    assert len(list((tmp_path / "seed").glob("*.iso"))) == 2


def test_invalid_address_is_refused(tmp_path: Path, fake_payload: Path) -> None:
    """
    A typing error in an address is found before a guest boots with the address.

    Expected: `UsageError` with the bad address.
    """
    with pytest.raises(UsageError, match=r"'10\.9\.0\.500/24'"):
        _build_seed_files(tmp_path, fake_payload, networks=[(MAC_ADDRESS, "10.9.0.500/24")])
