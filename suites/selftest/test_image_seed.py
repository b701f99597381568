"""The seed volume is one that a kernel reads, and says what cloud-init has to do."""

import json
import struct
from pathlib import Path
from typing import Any

import pytest

from migqual.errors import LabError, UsageError
from migqual.image import iso
from migqual.image.seed import cloud_seed

pytestmark = pytest.mark.selftest
MAC = "52:54:00:AA:00:01"


def _files(volume: bytes) -> dict[str, bytes]:
    """Files of a volume by the names that Linux shows, found by way of its descriptor."""
    assert volume[0x8000:0x8007] == b"\1CD001\1"
    sector, size = struct.unpack_from("<I4xI", volume, 0x8000 + 156 + 2)
    folder, found = volume[sector * 2048 : sector * 2048 + size], {}
    while folder and folder[0]:
        record, folder = folder[: folder[0]], folder[folder[0] :]
        at, length = struct.unpack_from("<I4xI", record, 2)
        name = record[33 : 33 + record[32]]
        if name not in (b"\0", b"\1"):
            plain = name.decode().lower().removesuffix(";1")
            found[plain] = volume[at * 2048 : at * 2048 + length]
    return found


@pytest.fixture
def program(tmp_path: Path) -> Path:
    """Stands for the payload: more than one sector, and no multiple of one."""
    path = tmp_path / "program"
    path.write_bytes(b"ELF" * 2001)
    return path


def _seed(cache: Path, program: Path, **changes: Any) -> dict[str, bytes]:  # noqa: ANN401 - keywords
    networks = [(MAC, "10.9.0.5/24"), ("52:54:00:aa:00:02", "")]
    given = {"hostname": "g1", "networks": networks, "payload": program, **changes}
    path = cloud_seed(**given, cache=cache)
    return _files(path.read_bytes())


def test_files_of_a_volume_come_back() -> None:
    """
    Names and contents survive, empty ones included; sizes are whole sectors; the label is there.

    Expected: the same files; both byte orders of the size agree.
    """
    given = {"user-data": b"x" * 5000, "meta-data": b"", "a.b": bytes(2048)}
    volume = iso.volume("CIDATA", given)
    assert _files(volume) == given
    assert volume[0x8028:0x8048] == b"CIDATA".ljust(32)
    sectors = len(volume) // 2048
    assert volume[0x8050:0x8058] == struct.pack("<I", sectors) + struct.pack(">I", sectors)
    assert len(volume) % 2048 == 0
    assert iso.volume("CIDATA", dict(reversed(given.items()))) == volume


def test_too_many_files_are_one_clear_error() -> None:
    """
    A folder that does not fit its sector is refused, not cut.

    Expected: `LabError`.
    """
    with pytest.raises(LabError, match="too many"):
        iso.volume("CIDATA", {f"file-{number:03}": b"" for number in range(60)})


def test_a_seed_configures_network_payload_and_agent(tmp_path: Path, program: Path) -> None:
    """
    A seed names the host, gives addresses by MAC and carries the program.

    Expected: static address with gateway on the first NIC, none on the second; the program's
    bytes; a unit on the port that was asked for.
    """
    files = _seed(tmp_path, program, port=7070, gateway="10.9.0.1")
    assert files["migqual-payload"] == program.read_bytes()
    assert b"serve --port 7070\n" in files["migqual.service"]
    assert json.loads(files["meta-data"])["local-hostname"] == "g1"
    head, _, rest = files["user-data"].partition(b"\n")
    assert head == b"#cloud-config"
    assert "qemu-guest-agent" in json.loads(rest)["bootcmd"][0][2]
    first, second = json.loads(files["network-config"])["config"]
    assert first["mac_address"] == MAC.lower()
    assert first["subnets"] == [{"type": "static", "address": "10.9.0.5/24", "gateway": "10.9.0.1"}]
    assert second["subnets"] == [{"type": "manual"}]


def test_another_guest_gets_another_seed(tmp_path: Path, program: Path) -> None:
    """
    A seed is named after its contents: the same guest gets the same one, another one another.

    Expected: two files for two host names, one of them asked for twice.
    """
    for name in ("g1", "g2", "g1"):
        cloud_seed(name, [(MAC, "10.9.0.5/24")], program, cache=tmp_path)
    assert len(list((tmp_path / "seed").glob("*.iso"))) == 2


def test_an_address_that_is_none_is_refused(tmp_path: Path, program: Path) -> None:
    """
    A typing error in an address is found before a guest boots with it.

    Expected: `UsageError` that quotes it.
    """
    with pytest.raises(UsageError, match=r"'10\.9\.0\.500/24'"):
        _seed(tmp_path, program, networks=[(MAC, "10.9.0.500/24")])
