"""The disk writer of the payload detects every kind of disk damage and names the kind."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from migqual.deadline import Deadline
from suites.selftest.support.payload_daemon import PayloadDaemon

pytestmark = pytest.mark.selftest
BLOCK_BYTES = 4096
SEQUENCE_FIELD = slice(32, 40)  # where a block's header holds its sequence number
WORD_MASK = (1 << 64) - 1


@pytest.fixture
def image(tmp_path: Path) -> Path:
    """Provide an image file of 2 MiB for disk writers."""
    path = tmp_path / "disk.raw"
    path.write_bytes(bytes(2 << 20))
    return path


def _start_writer(
    daemon: PayloadDaemon, image: Path, block_count: int, options: str = ""
) -> dict[str, Any]:
    """Start a writer, wait for `block_count` acknowledged blocks, and return the status."""
    daemon.run_command(f"disk start d device={image} span_mib=1 rate_per_s=max {options}")

    def find_disk_status() -> dict[str, Any] | None:
        (disk,) = daemon.run_command("status")["disks"]
        return disk if disk["acknowledged"] >= block_count else None

    return Deadline(20).wait_for("writes", find_disk_status)


def _read_blocks(image: Path) -> dict[int, bytes]:
    """Read the image and return the written blocks by number."""
    data = image.read_bytes()[: 1 << 20]
    blocks = {
        offset // BLOCK_BYTES: data[offset : offset + BLOCK_BYTES]
        for offset in range(0, len(data), BLOCK_BYTES)
    }
    return {number: block for number, block in blocks.items() if any(block)}


def _write_block(image: Path, number: int, block: bytes) -> None:
    with image.open("r+b") as file:
        file.seek(number * BLOCK_BYTES)
        file.write(block)


def _get_sequence(block: bytes) -> int:
    return int.from_bytes(block[SEQUENCE_FIELD], "little")


@pytest.mark.parametrize("options", ["", "block_kib=64", "fsync_every=7", "offset_mib=1"])
def test_intact_disk_verifies_during_and_after_writes(
    daemon: PayloadDaemon, image: Path, options: str
) -> None:
    """
    The verification of an intact disk finds no bad block, both during and after the writes.

    Expected: blocks are checked; no block is bad; no errors. The report has the longest write
    latency and the time of the slowest write.
    """
    _start_writer(daemon, image, 30, options)
    assert daemon.run_command("disk verify d")["bad"] == 0
    daemon.run_command("disk stop d")

    report = daemon.run_command("disk verify d")
    assert report["checked"] > 0
    assert (report["bad"], report["errors"], report["unsure"]) == (0, 0, 0)
    assert report["acknowledged"] == report["issued"]
    assert report["latency_max_ms"] > 0
    assert report["latency_max_at_ms"] > 0


def _flip_bit(image: Path, number: int) -> None:
    block = bytearray(_read_blocks(image)[number])
    block[2000] ^= 1
    _write_block(image, number, bytes(block))


def _tear_block(image: Path, number: int) -> None:
    block = _read_blocks(image)[number]
    _write_block(image, number, block[:512] + bytes(BLOCK_BYTES - 512))


def _zero_block(image: Path, number: int) -> None:
    _write_block(image, number, bytes(BLOCK_BYTES))


def _misplace_block(image: Path, number: int) -> None:
    other_block = next(
        block for other_number, block in _read_blocks(image).items() if other_number != number
    )
    _write_block(image, number, other_block)


@pytest.mark.parametrize(
    ("inject_fault", "kind"),
    [
        (_flip_bit, "torn"),
        (_tear_block, "torn"),
        (_zero_block, "zeroed"),
        (_misplace_block, "misplaced"),
    ],
)
def test_damaged_disk_blocks_are_classified(
    daemon: PayloadDaemon, image: Path, inject_fault: Callable[[Path, int], None], kind: str
) -> None:
    """
    A flipped bit, a half-written block, a zeroed block and a misplaced block are detected.

    Expected: exactly the damaged block is bad, with the expected kind.
    """
    _start_writer(daemon, image, 20)
    daemon.run_command("disk stop d")
    number = next(iter(_read_blocks(image)))
    inject_fault(image, number)

    report = daemon.run_command("disk verify d")
    assert [(bad["block"], bad["kind"]) for bad in report["bad_blocks"]] == [(number, kind)]
    assert daemon.run_command("status")["disk_bad"] == 1


def test_lost_acknowledged_write_is_detected(daemon: PayloadDaemon, image: Path) -> None:
    """
    The loss of an acknowledged write is detected.

    Preconditions: the test replaces a block by its older version, as if the last acknowledged
    write had not reached the disk.
    Expected: the block has the kind `lost`. The report has the sequence number of the older
    version, and a higher acknowledged number.
    """
    _start_writer(daemon, image, 20)
    blocks_before = _read_blocks(image)

    def find_rewritten_block() -> int | None:
        blocks_now = _read_blocks(image)
        rewritten_numbers = (
            number
            for number, block in blocks_before.items()
            if _get_sequence(blocks_now[number]) > _get_sequence(block)
        )
        return next(rewritten_numbers, None)

    Deadline(10).wait_for("a rewrite", lambda: find_rewritten_block() is not None)
    daemon.run_command("disk stop d")
    number = find_rewritten_block()
    assert number is not None
    _write_block(image, number, blocks_before[number])

    (bad,) = daemon.run_command("disk verify d")["bad_blocks"]
    assert (bad["block"], bad["kind"]) == (number, "lost")
    assert bad["found"] == _get_sequence(blocks_before[number]) < bad["acknowledged"]


def _combine_hashes(first: int, second: int) -> int:
    value = first ^ (second * 0x9E3779B97F4A7C15 + 0x632BE59BD9B4E019) & WORD_MASK
    value = (value ^ (value >> 30)) * 0xBF58476D1CE4E5B9 & WORD_MASK
    value = (value ^ (value >> 27)) * 0x94D049BB133111EB & WORD_MASK
    return value ^ (value >> 31)


def _compute_checksum(data: bytes, seed: int) -> int:
    """Compute the checksum of a block header, independently of the C code under test."""
    lanes = [seed, ~seed & WORD_MASK, seed + 1, seed ^ 0x5555555555555555]
    for offset in range(0, len(data), 8):
        lane = offset // 8 % 4
        word = int.from_bytes(data[offset : offset + 8], "little")
        value = (lanes[lane] ^ word) * 0x9E3779B97F4A7C15 & WORD_MASK
        lanes[lane] = value ^ (value >> 29)
    return _combine_hashes(_combine_hashes(lanes[0], lanes[1]), _combine_hashes(lanes[2], lanes[3]))


def _build_block_with_sequence(block: bytes, sequence: int) -> bytes:
    """Build a copy of `block` with another sequence number and a valid checksum.

    A second program that writes to the same disk would write such a block.
    """
    header = (
        block[: SEQUENCE_FIELD.start]
        + sequence.to_bytes(8, "little")
        + block[SEQUENCE_FIELD.stop : 48]
    )
    return header + _compute_checksum(header, 3).to_bytes(8, "little") + block[56:]


def test_block_of_a_second_writer_is_detected(daemon: PayloadDaemon, image: Path) -> None:
    """
    A block shows a second writer if its sequence number is above all numbers that the writer of the
    test issued.

    Preconditions: the test replaces a block by a copy with a higher sequence number and a valid
    checksum.
    Expected: the block has the kind `future`. The report has the sequence number of the copy, and
    the lower number that the writer of the test issued for this block.
    """
    _start_writer(daemon, image, 20)
    daemon.run_command("disk stop d")
    number, block = next(iter(_read_blocks(image).items()))
    assert _build_block_with_sequence(block, _get_sequence(block)) == block
    _write_block(image, number, _build_block_with_sequence(block, 10**6))

    (bad,) = daemon.run_command("disk verify d")["bad_blocks"]
    assert (bad["block"], bad["kind"], bad["found"]) == (number, "future", 10**6)
    assert bad["issued"] < 10**6


def test_unreadable_disk_is_reported_and_daemon_continues(
    daemon: PayloadDaemon, tmp_path: Path
) -> None:
    """
    A disk with read errors is reported, and the daemon continues.

    Preconditions: the image of a stopped writer is truncated, so no block can be read any more.
    Expected: every block is listed as bad and unreadable. The next command gets a reply.
    """
    image = tmp_path / "short.raw"
    image.write_bytes(bytes(1 << 20))
    _start_writer(daemon, image, 40)
    daemon.run_command("disk stop d")
    block_count = len(_read_blocks(image))
    with image.open("r+b") as file:
        file.truncate(0)

    report = daemon.run_command("disk verify d")
    assert (report["checked"], report["bad"]) == (block_count, block_count)
    assert {bad["kind"] for bad in report["bad_blocks"]} == {"unreadable"}
    assert daemon.run_command("disk free d") == {"ok": True}


def test_overlapping_disk_writers_are_refused(daemon: PayloadDaemon, image: Path) -> None:
    """
    Several writers run at the same time on the same device if their block ranges do not overlap.

    Expected: the writers `a` and `b` verify without bad blocks. The writer `c` is refused, because
    the range of `c` overlaps with the range of `a`. The error names `a`.
    """
    daemon.run_command(f"disk start a device={image} span_mib=1 rate_per_s=100")
    daemon.run_command(f"disk start b device={image} span_mib=1 offset_mib=1 rate_per_s=100")
    assert "overlaps with disk a" in daemon.expect_error(f"disk start c device={image} span_mib=2")
    assert [daemon.run_command(f"disk verify {name}")["bad"] for name in "ab"] == [0, 0]
    assert len(daemon.run_command("status")["disks"]) == 2
