"""Every way in which a disk could break its promise is seen, and told from the others."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from migqual.deadline import Deadline
from suites.selftest.payload_daemon import Daemon

pytestmark = pytest.mark.selftest
BLOCK = 4096
SEQUENCE = slice(32, 40)  # where a block's header holds its sequence number
WORD = (1 << 64) - 1


@pytest.fixture
def image(tmp_path: Path) -> Path:
    """2 MiB, where a writer may write."""
    path = tmp_path / "disk.raw"
    path.write_bytes(bytes(2 << 20))
    return path


def _write(daemon: Daemon, image: Path, blocks: int, options: str = "") -> dict[str, Any]:
    """Start a writer and wait until it has `blocks` acknowledgements."""
    daemon.ask(f"disk start d device={image} span_mib=1 rate_per_s=max {options}")

    def enough() -> dict[str, Any] | None:
        (disk,) = daemon.ask("status")["disks"]
        return disk if disk["acknowledged"] >= blocks else None

    return Deadline(20).wait_for("writes", enough)


def _blocks(image: Path) -> dict[int, bytes]:
    """Blocks that were written, by number."""
    data = image.read_bytes()[: 1 << 20]
    found = {at // BLOCK: data[at : at + BLOCK] for at in range(0, len(data), BLOCK)}
    return {number: block for number, block in found.items() if any(block)}


def _put(image: Path, number: int, block: bytes) -> None:
    with image.open("r+b") as file:
        file.seek(number * BLOCK)
        file.write(block)


def _sequence(block: bytes) -> int:
    return int.from_bytes(block[SEQUENCE], "little")


@pytest.mark.parametrize("options", ["", "block_kib=64", "fsync_every=7", "offset_mib=1"])
def test_an_honest_disk_verifies_while_it_is_written(
    daemon: Daemon, image: Path, options: str
) -> None:
    """
    A disk that keeps its promises has no bad block, while the writer goes on and afterwards.

    Expected: blocks checked, none bad, no errors, a longest write with its time.
    """
    _write(daemon, image, 30, options)
    assert daemon.ask("disk verify d")["bad"] == 0
    daemon.ask("disk stop d")

    still = daemon.ask("disk verify d")
    assert still["checked"] > 0
    assert (still["bad"], still["errors"], still["unsure"]) == (0, 0, 0)
    assert still["acknowledged"] == still["issued"]
    assert still["latency_max_ms"] > 0
    assert still["latency_max_at_ms"] > 0


def _flipped(image: Path, number: int) -> None:
    block = bytearray(_blocks(image)[number])
    block[2000] ^= 1
    _put(image, number, bytes(block))


def _torn(image: Path, number: int) -> None:
    block = _blocks(image)[number]
    _put(image, number, block[:512] + bytes(BLOCK - 512))


def _zeroed(image: Path, number: int) -> None:
    _put(image, number, bytes(BLOCK))


def _misplaced(image: Path, number: int) -> None:
    other = next(block for at, block in _blocks(image).items() if at != number)
    _put(image, number, other)


@pytest.mark.parametrize(
    ("harm", "kind"),
    [(_flipped, "torn"), (_torn, "torn"), (_zeroed, "zeroed"), (_misplaced, "misplaced")],
)
def test_harmed_blocks_are_told_apart(
    daemon: Daemon, image: Path, harm: Callable[[Path, int], None], kind: str
) -> None:
    """
    A flipped bit, half a write, a hole and another place's block are found in the image.

    Expected: exactly the harmed block is bad, and of that kind.
    """
    _write(daemon, image, 20)
    daemon.ask("disk stop d")
    number = next(iter(_blocks(image)))
    harm(image, number)

    report = daemon.ask("disk verify d")
    assert [(bad["block"], bad["kind"]) for bad in report["bad_blocks"]] == [(number, kind)]
    assert daemon.ask("status")["disk_bad"] == 1


def test_a_lost_acknowledged_write_is_found(daemon: Daemon, image: Path) -> None:
    """
    A block that fell back to what it held before its last acknowledged write is lost.

    Expected: found with the older sequence, less than the acknowledged one.
    """
    _write(daemon, image, 20)
    before = _blocks(image)

    def rewritten() -> int | None:
        now = _blocks(image)
        newer = (n for n, block in before.items() if _sequence(now[n]) > _sequence(block))
        return next(newer, None)

    Deadline(10).wait_for("a rewrite", lambda: rewritten() is not None)
    daemon.ask("disk stop d")
    number = rewritten()
    assert number is not None
    _put(image, number, before[number])

    (bad,) = daemon.ask("disk verify d")["bad_blocks"]
    assert (bad["block"], bad["kind"]) == (number, "lost")
    assert bad["found"] == _sequence(before[number]) < bad["acknowledged"]


def _mix(one: int, two: int) -> int:
    x = one ^ (two * 0x9E3779B97F4A7C15 + 0x632BE59BD9B4E019) & WORD
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9 & WORD
    x = (x ^ (x >> 27)) * 0x94D049BB133111EB & WORD
    return x ^ (x >> 31)


def _sum(data: bytes, start: int) -> int:
    """The header's checksum, written a second time so that the first one is checked by it."""
    lanes = [start, ~start & WORD, start + 1, start ^ 0x5555555555555555]
    for at in range(0, len(data), 8):
        lane = at // 8 % 4
        word = int.from_bytes(data[at : at + 8], "little")
        x = (lanes[lane] ^ word) * 0x9E3779B97F4A7C15 & WORD
        lanes[lane] = x ^ (x >> 29)
    return _mix(_mix(lanes[0], lanes[1]), _mix(lanes[2], lanes[3]))


def _of_sequence(block: bytes, sequence: int) -> bytes:
    """The block as a second writer would write it at `sequence`: whole, with a true checksum."""
    head = block[: SEQUENCE.start] + sequence.to_bytes(8, "little") + block[SEQUENCE.stop : 48]
    return head + _sum(head, 3).to_bytes(8, "little") + block[56:]


def test_a_block_from_the_future_is_found(daemon: Daemon, image: Path) -> None:
    """
    A block that this guest has not written yet betrays a second writer on its disk.

    Expected: of the future, with a sequence above all that were issued for it. The same block
    with its own sequence, made by the same means, passes.
    """
    _write(daemon, image, 20)
    daemon.ask("disk stop d")
    number, block = next(iter(_blocks(image).items()))
    assert _of_sequence(block, _sequence(block)) == block
    _put(image, number, _of_sequence(block, 10**6))

    (bad,) = daemon.ask("disk verify d")["bad_blocks"]
    assert (bad["block"], bad["kind"], bad["found"]) == (number, "future", 10**6)
    assert bad["issued"] < 10**6


def test_an_error_of_the_disk_is_recorded_and_survived(daemon: Daemon, tmp_path: Path) -> None:
    """
    A disk whose writes fail is reported with its error number; the daemon goes on.

    Preconditions: an image that is cut short under the writer cannot be read there any more.
    Expected: unreadable blocks, each of them listed as bad; the next command is answered.
    """
    image = tmp_path / "short.raw"
    image.write_bytes(bytes(1 << 20))
    _write(daemon, image, 40)
    daemon.ask("disk stop d")
    kept = len(_blocks(image))
    with image.open("r+b") as file:
        file.truncate(0)

    report = daemon.ask("disk verify d")
    assert (report["checked"], report["bad"]) == (kept, kept)
    assert {bad["kind"] for bad in report["bad_blocks"]} == {"unreadable"}
    assert daemon.ask("disk free d") == {"ok": True}


def test_two_disks_at_once_may_not_overlap(daemon: Daemon, image: Path) -> None:
    """
    Several writers run side by side, also on one device, as long as their blocks are apart.

    Expected: two verify; a third that overlaps is refused with the other's name.
    """
    daemon.ask(f"disk start a device={image} span_mib=1 rate_per_s=100")
    daemon.ask(f"disk start b device={image} span_mib=1 offset_mib=1 rate_per_s=100")
    assert "overlaps with disk a" in daemon.refuse(f"disk start c device={image} span_mib=2")
    assert [daemon.ask(f"disk verify {name}")["bad"] for name in "ab"] == [0, 0]
    assert len(daemon.ask("status")["disks"]) == 2
