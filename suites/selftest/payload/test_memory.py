"""The payload detects every kind of memory damage by a migration and names the kind."""

from collections.abc import Callable
from pathlib import Path

import pytest

from migqual.deadline import Deadline
from suites.selftest.support.payload_daemon import PAGE_BYTES, PayloadDaemon

pytestmark = pytest.mark.selftest


@pytest.mark.parametrize("content", ["random", "text", "zero"])
@pytest.mark.parametrize("touch", ["page", "header"])
@pytest.mark.parametrize("pattern", ["sequential", "random", "hotspot"])
def test_intact_memory_verifies_while_it_is_dirtied(
    daemon: PayloadDaemon, content: str, touch: str, pattern: str
) -> None:
    """
    The verification of an intact memory region finds no bad page, both during and after the writes.

    Expected: all pages are checked, no page is bad, and the region was dirtied.
    """
    daemon.run_command(
        f"memory start a mib=2 rate_mib_s=max content={content} touch={touch} pattern={pattern}"
    )
    Deadline(5).wait_for("dirtying", lambda: daemon.run_command("memory verify a")["dirtied_pages"])

    daemon.run_command("memory stop a")
    report = daemon.run_command("memory verify a")
    assert (report["checked"], report["bad"], report["bad_dirtying"]) == (512, 0, 0)
    assert report["running"] is False


def test_dirty_rate_follows_the_requested_rate(daemon: PayloadDaemon) -> None:
    """
    A memory region is dirtied at the requested rate, also after a change of the rate.

    Preconditions: the requested rate is first 4 MiB/s and then 16 MiB/s. Both rates are low,
    because the machine may be busy.
    Expected: each measured rate is at most 1.25 times the requested rate. The second measured rate
    is more than twice the first measured rate.
    """
    daemon.run_command("memory start a mib=4 rate_mib_s=4")
    achieved_mib_s = {}
    for rate in (4, 16):
        daemon.run_command(f"memory rate a rate_mib_s={rate}")
        Deadline(1).pause(0.8)
        achieved_mib_s[rate] = daemon.run_command("memory verify a")["dirty_mib_s"]
        assert achieved_mib_s[rate] <= rate * 1.25
    assert achieved_mib_s[16] > 2 * achieved_mib_s[4] > 0


def test_free_memory_is_zeroed_up_to_a_limit(daemon: PayloadDaemon) -> None:
    """
    The command `zero-free` zeroes as much free memory as requested, and not more.

    Expected: exactly the requested 4 MiB are zeroed, although more memory is free.
    """
    assert daemon.run_command("zero-free mib=4")["mib"] == 4.0


def count_context_switches(pid: int) -> int:
    """Count the voluntary context switches of all threads of a process so far."""
    texts = (file.read_text() for file in Path(f"/proc/{pid}/task").glob("*/status"))
    lines = (line for text in texts for line in text.splitlines())
    return sum(int(line.split()[1]) for line in lines if line.startswith("voluntary_ctxt"))


def test_idle_memory_region_causes_no_wakeups(daemon: PayloadDaemon) -> None:
    """
    A memory region without a dirty rate causes no wake-ups: under emulation each wake-up is
    expensive.

    Expected: at most 5 wake-ups in half a second at rest, also after the rate is set back to 0.
    Pages are dirtied as soon as a rate is set.
    """
    daemon.run_command("memory start a mib=1")
    wakeup_counts = []
    for _ in range(2):
        daemon.run_command("memory rate a rate_mib_s=16")
        Deadline(5).wait_for(
            "dirtying", lambda: daemon.run_command("status")["memory"][0]["dirtied_pages"]
        )
        daemon.run_command("memory rate a rate_mib_s=0")
        Deadline(1).pause(0.1)
        switches_before = count_context_switches(daemon.pid)
        Deadline(1).pause(0.5)
        wakeup_counts.append(count_context_switches(daemon.pid) - switches_before)

    assert max(wakeup_counts) <= 5


def test_flipped_byte_is_found_with_address(daemon: PayloadDaemon) -> None:
    """
    A single flipped byte in the memory of another process is found with page, offset and
    values.

    Expected: `flip` prints the address; verification reports exactly the same byte.
    """
    region = daemon.run_command("memory start a mib=4")
    result = daemon.run_subcommand(
        *("flip", "--pid", str(daemon.pid), "--marker", region["marker"]),
        *("--nth", "5", "--byte", "777"),
    )
    address, old_byte, new_byte = result.stdout.split()

    report = daemon.run_command("memory verify a")
    (bad,) = report["bad_pages"]
    assert report["bad"] == 1
    assert (bad["kind"], bad["offset"]) == ("flipped", 777)
    assert (bad["expected"], bad["found"]) == (old_byte, new_byte)
    assert int(bad["address"], 16) + 777 == int(address, 16)
    assert daemon.run_command("status")["memory_bad"] == 1


@pytest.mark.parametrize("content", ["random", "text", "zero"])
def test_flipped_byte_is_detected_at_every_offset(daemon: PayloadDaemon, content: str) -> None:
    """
    A flipped byte is detected at every offset of a page.

    Preconditions: a memory region of 4096 pages. The test flips byte 0 of the first page, byte 1 of
    the second page, and so on, up to byte 4095 of the last page.
    Expected: verification finds every damaged page. After the test restores the bytes, no page is
    bad.
    """
    address = int(daemon.run_command(f"memory start a mib=16 content={content}")["address"], 16)
    byte_addresses = [address + page * PAGE_BYTES + page for page in range(PAGE_BYTES)]
    for byte_address in byte_addresses:
        daemon.write_memory(byte_address, bytes([daemon.read_memory(byte_address, 1)[0] ^ 0x10]))
    bad_page_count = daemon.run_command("memory verify a")["bad"]
    for byte_address in byte_addresses:
        daemon.write_memory(byte_address, bytes([daemon.read_memory(byte_address, 1)[0] ^ 0x10]))

    assert bad_page_count == PAGE_BYTES
    assert daemon.run_command("memory verify a")["bad"] == 0


def test_search_counts_only_pages_with_the_marker(daemon: PayloadDaemon) -> None:
    """
    `search` finds every page of a region by the region's marker, and no page by another marker.

    Expected: for the region's marker, `search` prints the number of pages, and the exit status is
    0. For another marker, `search` prints 0, and the exit status is 3.
    """
    region = daemon.run_command("memory start a mib=4")
    pid = str(daemon.pid)
    own_result = daemon.run_subcommand("search", "--pid", pid, "--marker", region["marker"])
    foreign_result = daemon.run_subcommand(
        "search", "--pid", pid, "--marker", "00112233445566778899aabbccddeeff"
    )
    assert (own_result.returncode, own_result.stdout) == (0, f"{region['pages']}\n")
    assert (foreign_result.returncode, foreign_result.stdout) == (3, "0\n")


def _restore_old_page(daemon: PayloadDaemon, address: int) -> None:
    old_page = daemon.read_memory(address)
    daemon.run_command("memory rate a rate_mib_s=max")
    Deadline(5).wait_for("a newer version", lambda: daemon.read_memory(address) != old_page)
    daemon.run_command("memory stop a")
    daemon.write_memory(address, old_page)


def _copy_next_page(daemon: PayloadDaemon, address: int) -> None:
    daemon.write_memory(address, daemon.read_memory(address + PAGE_BYTES))


def _zero_page(daemon: PayloadDaemon, address: int) -> None:
    daemon.write_memory(address, bytes(PAGE_BYTES))


def _mix_two_pages(daemon: PayloadDaemon, address: int) -> None:
    daemon.write_memory(
        address + PAGE_BYTES // 2,
        daemon.read_memory(address + PAGE_BYTES + PAGE_BYTES // 2, PAGE_BYTES // 2),
    )


def _copy_foreign_page(daemon: PayloadDaemon, address: int) -> None:
    foreign_address = int(daemon.run_command("memory start b mib=1 seed=9")["address"], 16)
    daemon.write_memory(address, daemon.read_memory(foreign_address))


@pytest.mark.parametrize(
    ("inject_fault", "kind"),
    [
        (_restore_old_page, "stale"),
        (_copy_next_page, "swapped"),
        (_zero_page, "zeroed"),
        (_mix_two_pages, "flipped"),
        (_copy_foreign_page, "foreign"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
@pytest.mark.parametrize("touch", ["page", "header"])
def test_damaged_memory_pages_are_classified(
    daemon: PayloadDaemon, inject_fault: Callable[[PayloadDaemon, int], None], kind: str, touch: str
) -> None:
    """
    The verification detects a page with wrong contents, and names the kind of damage.

    Preconditions: the test writes wrong contents to a page. The contents depend on the kind of
    damage. `stale`: earlier contents of the same page. `swapped`: the contents of the next page.
    `zeroed`: zeros. `foreign`: a page of another memory region. `flipped`: the first half stays,
    and the second half comes from the next page.
    Expected: exactly this page is bad, and the report names the right kind.
    """
    region = daemon.run_command(f"memory start a mib=1 touch={touch}")
    inject_fault(daemon, int(region["address"], 16) + 3 * PAGE_BYTES)

    report = daemon.run_command("memory verify a")
    assert [(bad["page"], bad["kind"]) for bad in report["bad_pages"]] == [(3, kind)]


def test_single_byte_in_a_zero_page_is_detected(daemon: PayloadDaemon) -> None:
    """
    A single byte in a region of zeros is detected.

    Expected: a single bad page of kind `not-zero`, with the right offset.
    """
    region = daemon.run_command("memory start a mib=1 content=zero")
    daemon.write_memory(int(region["address"], 16) + 2 * PAGE_BYTES + 4095, b"\x01")

    (bad,) = daemon.run_command("memory verify a")["bad_pages"]
    assert (bad["page"], bad["kind"], bad["offset"]) == (2, "not-zero", 4095)


def test_dirtying_detects_damage_before_overwriting(daemon: PayloadDaemon) -> None:
    """
    A damaged page is counted and reported even if the page is rewritten before a verification.

    Expected: the payload checks each page before each rewrite, and finds a single bad page. The
    later verification finds no bad page in the memory region.
    """
    region = daemon.run_command("memory start a mib=1")
    daemon.write_memory(int(region["address"], 16) + 9 * PAGE_BYTES + 100, b"\xff\xfe")
    daemon.run_command("memory rate a rate_mib_s=max")
    Deadline(5).wait_for(
        "a damaged page", lambda: daemon.run_command("status")["memory"][0]["bad_dirtying"]
    )

    report = daemon.run_command("memory verify a")
    assert (report["bad"], report["bad_dirtying"]) == (0, 1)
    (bad,) = report["bad_pages_dirtying"]
    assert (bad["page"], bad["kind"]) == (9, "flipped")


def test_at_most_eight_bad_pages_are_listed(daemon: PayloadDaemon) -> None:
    """
    All bad pages are counted, but at most eight bad pages are described.

    Expected: 256 bad pages, 8 in the list.
    """
    region = daemon.run_command("memory start a mib=1")
    daemon.write_memory(int(region["address"], 16), bytes(256 * PAGE_BYTES))
    report = daemon.run_command("memory verify a")
    assert (report["bad"], len(report["bad_pages"])) == (256, 8)
