"""Every way in which a migration could harm memory is seen, and told from the others."""

from collections.abc import Callable
from pathlib import Path

import pytest

from migqual.deadline import Deadline
from suites.selftest.payload_daemon import PAGE, Daemon

pytestmark = pytest.mark.selftest


@pytest.mark.parametrize("content", ["random", "text", "zero"])
@pytest.mark.parametrize("touch", ["page", "header"])
@pytest.mark.parametrize("pattern", ["sequential", "random", "hotspot"])
def test_untouched_memory_verifies_while_it_is_dirtied(
    daemon: Daemon, content: str, touch: str, pattern: str
) -> None:
    """
    A region that nobody harmed has no bad page, while its pages change and afterwards.

    Expected: all pages checked, none bad, and the region really was dirtied.
    """
    daemon.ask(
        f"memory start a mib=2 rate_mib_s=max content={content} touch={touch} pattern={pattern}"
    )
    Deadline(5).wait_for("dirtying", lambda: daemon.ask("memory verify a")["dirtied_pages"])

    daemon.ask("memory stop a")
    still = daemon.ask("memory verify a")
    assert (still["checked"], still["bad"], still["bad_dirtying"]) == (512, 0, 0)
    assert still["running"] is False


def test_dirty_rate_is_what_was_asked_for(daemon: Daemon) -> None:
    """
    A region is dirtied at the rate that was set, and at a new one after it is changed.

    Expected: never more than was asked for, and with four times the rate clearly more than before.
    Rates are low: what is tested is obedience, not the speed of a machine that others use too.
    """
    daemon.ask("memory start a mib=4 rate_mib_s=4")
    achieved = {}
    for rate in (4, 16):
        daemon.ask(f"memory rate a rate_mib_s={rate}")
        Deadline(1).pause(0.8)
        achieved[rate] = daemon.ask("memory verify a")["dirty_mib_s"]
        assert achieved[rate] <= rate * 1.25
    assert achieved[16] > 2 * achieved[4] > 0


def test_free_memory_is_zeroed_up_to_a_limit(daemon: Daemon) -> None:
    """
    Memory that nobody uses is mapped once, and no more of it than was asked for.

    Expected: as much as asked for, where more is free.
    """
    assert daemon.ask("zero-free mib=4")["mib"] == 4.0


def switches_of(pid: int) -> int:
    """How often the threads of a process were woken up so far."""
    texts = (file.read_text() for file in Path(f"/proc/{pid}/task").glob("*/status"))
    lines = (line for text in texts for line in text.splitlines())
    return sum(int(line.split()[1]) for line in lines if line.startswith("voluntary_ctxt"))


def test_region_at_rest_is_never_woken_up(daemon: Daemon) -> None:
    """
    A region that is not dirtied costs nothing: under emulation each wake-up is dear.

    Expected: hardly a wake-up in half a second at rest, also after a rate was taken back; pages are
    dirtied as soon as a rate is set.
    """
    daemon.ask("memory start a mib=1")
    woken = []
    for _ in range(2):
        daemon.ask("memory rate a rate_mib_s=16")
        Deadline(5).wait_for("dirtying", lambda: daemon.ask("status")["memory"][0]["dirtied_pages"])
        daemon.ask("memory rate a rate_mib_s=0")
        Deadline(1).pause(0.1)
        before = switches_of(daemon.pid)
        Deadline(1).pause(0.5)
        woken.append(switches_of(daemon.pid) - before)

    assert max(woken) <= 5


def test_bytes_flipped_from_outside_are_found(daemon: Daemon) -> None:
    """
    One byte flipped in another process's memory is found with its page, place and values.

    Expected: `flip` names the address; verification names exactly that byte.
    """
    region = daemon.ask("memory start a mib=4")
    done = daemon.tool(
        *("flip", "--pid", str(daemon.pid), "--marker", region["marker"]),
        *("--nth", "5", "--byte", "777"),
    )
    address, before, after = done.stdout.split()

    report = daemon.ask("memory verify a")
    (bad,) = report["bad_pages"]
    assert report["bad"] == 1
    assert (bad["kind"], bad["offset"]) == ("flipped", 777)
    assert (bad["expected"], bad["found"]) == (before, after)
    assert int(bad["address"], 16) + 777 == int(address, 16)
    assert daemon.ask("status")["memory_bad"] == 1


@pytest.mark.parametrize("content", ["random", "text", "zero"])
def test_no_byte_of_a_page_may_differ(daemon: Daemon, content: str) -> None:
    """
    Preconditions: in each page of a region another byte is flipped, the header's included.
    Expected: verification finds every page that was damaged; with the bytes put back, none.
    """
    address = int(daemon.ask(f"memory start a mib=16 content={content}")["address"], 16)
    places = [address + page * PAGE + page for page in range(PAGE)]
    for place in places:
        daemon.poke(place, bytes([daemon.peek(place, 1)[0] ^ 0x10]))
    damaged = daemon.ask("memory verify a")["bad"]
    for place in places:
        daemon.poke(place, bytes([daemon.peek(place, 1)[0] ^ 0x10]))

    assert damaged == PAGE
    assert daemon.ask("memory verify a")["bad"] == 0


def test_search_counts_pages_and_misses_a_foreign_marker(daemon: Daemon) -> None:
    """
    `search` finds every page of a region by its marker, and none by another marker.

    Expected: the page count with status 0; 0 with status 3.
    """
    region = daemon.ask("memory start a mib=4")
    pid = str(daemon.pid)
    seen = daemon.tool("search", "--pid", pid, "--marker", region["marker"])
    foreign = daemon.tool("search", "--pid", pid, "--marker", "00112233445566778899aabbccddeeff")
    assert (seen.returncode, seen.stdout) == (0, f"{region['pages']}\n")
    assert (foreign.returncode, foreign.stdout) == (3, "0\n")


def _stale(daemon: Daemon, address: int) -> None:
    old = daemon.peek(address)
    daemon.ask("memory rate a rate_mib_s=max")
    Deadline(5).wait_for("a newer version", lambda: daemon.peek(address) != old)
    daemon.ask("memory stop a")
    daemon.poke(address, old)


def _swapped(daemon: Daemon, address: int) -> None:
    daemon.poke(address, daemon.peek(address + PAGE))


def _zeroed(daemon: Daemon, address: int) -> None:
    daemon.poke(address, bytes(PAGE))


def _torn(daemon: Daemon, address: int) -> None:
    daemon.poke(address + PAGE // 2, daemon.peek(address + PAGE + PAGE // 2, PAGE // 2))


def _foreign(daemon: Daemon, address: int) -> None:
    other = int(daemon.ask("memory start b mib=1 seed=9")["address"], 16)
    daemon.poke(address, daemon.peek(other))


@pytest.mark.parametrize(
    ("harm", "kind"),
    [
        (_stale, "stale"),
        (_swapped, "swapped"),
        (_zeroed, "zeroed"),
        (_torn, "flipped"),
        (_foreign, "foreign"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
@pytest.mark.parametrize("touch", ["page", "header"])
def test_harms_are_told_apart(
    daemon: Daemon, harm: Callable[[Daemon, int], None], kind: str, touch: str
) -> None:
    """
    An older page, another page, a zeroed page, a mixed page and a foreign page have their names.

    Expected: exactly the harmed page is bad, and of that kind.
    """
    region = daemon.ask(f"memory start a mib=1 touch={touch}")
    harm(daemon, int(region["address"], 16) + 3 * PAGE)

    report = daemon.ask("memory verify a")
    assert [(bad["page"], bad["kind"]) for bad in report["bad_pages"]] == [(3, kind)]


def test_one_byte_in_a_page_of_zeros_is_found(daemon: Daemon) -> None:
    """
    A region of zeros carries nothing, and a single byte in it is seen.

    Expected: one page, not zero, at that offset.
    """
    region = daemon.ask("memory start a mib=1 content=zero")
    daemon.poke(int(region["address"], 16) + 2 * PAGE + 4095, b"\x01")

    (bad,) = daemon.ask("memory verify a")["bad_pages"]
    assert (bad["page"], bad["kind"], bad["offset"]) == (2, "not-zero", 4095)


def test_dirtying_notices_harm_before_it_writes_over_it(daemon: Daemon) -> None:
    """
    A harmed page that is rewritten before anybody verifies is counted and kept all the same.

    Expected: one bad page met while dirtying; the region is whole again afterwards.
    """
    region = daemon.ask("memory start a mib=1")
    daemon.poke(int(region["address"], 16) + 9 * PAGE + 100, b"\xff\xfe")
    daemon.ask("memory rate a rate_mib_s=max")
    Deadline(5).wait_for("a round", lambda: daemon.ask("status")["memory"][0]["bad_dirtying"])

    report = daemon.ask("memory verify a")
    assert (report["bad"], report["bad_dirtying"]) == (0, 1)
    (bad,) = report["bad_pages_dirtying"]
    assert (bad["page"], bad["kind"]) == (9, "flipped")


def test_no_more_than_eight_bad_pages_are_listed(daemon: Daemon) -> None:
    """
    A thousand bad pages are counted, and eight of them described.

    Expected: 256 bad, 8 listed.
    """
    region = daemon.ask("memory start a mib=1")
    daemon.poke(int(region["address"], 16), bytes(256 * PAGE))
    report = daemon.ask("memory verify a")
    assert (report["bad"], len(report["bad_pages"])) == (256, 8)
