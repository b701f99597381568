"""A half-built thing is never taken for a whole one; a key follows from all inputs."""

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from migqual.deadline import Deadline
from migqual.errors import LabError, UsageError
from migqual.image import build, store
from migqual.image.guest import kernel_arguments
from migqual.image.tree import TreeSpec, ensure_tree

pytestmark = pytest.mark.selftest

BUILD_FOR_EVER = """
import sys
from pathlib import Path
from migqual.image import build, store

def make(half: Path) -> None:
    half.mkdir()
    (half / "one").write_text("1")
    print("begun", flush=True)
    word = f"sh-of-{half.parent.name}"
    build.run(["sh", "-c", "sleep 600; exit", word], what="sleep", remedy="")

store.ensure(Path(sys.argv[1]), make)
"""


def _make(half: Path) -> None:
    half.mkdir()
    (half / "one").write_text("1")
    (half / "two").write_text("2")


def _names(folder: Path) -> list[str]:
    """Everything but lock files."""
    return sorted(path.name for path in folder.iterdir() if not path.name.endswith(".lock"))


def test_a_build_that_fails_leaves_nothing(tmp_path: Path) -> None:
    """
    What a failed build has put down is removed, and the failure is passed on.

    Expected: the error; an empty folder; the next build succeeds.
    """

    def fail(half: Path) -> None:
        _make(half)
        raise LabError("no space")

    with pytest.raises(LabError, match="no space"):
        store.ensure(tmp_path / "thing", fail)
    assert _names(tmp_path) == []
    assert store.ensure(tmp_path / "thing", _make) == tmp_path / "thing"


def test_a_build_killed_in_the_middle_is_not_taken_and_is_cleared(tmp_path: Path) -> None:
    """
    SIGKILL in mid-build: its commands die too, and the next build clears what it left and is whole.

    Preconditions: a build that runs a command for ever, in a process of its own.
    Expected: after the kill no final name and no such command; after the next build only that.
    """
    final = tmp_path / "thing"
    with subprocess.Popen(
        [sys.executable, "-c", BUILD_FOR_EVER, str(final)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "begun\n"
        Deadline(5).wait_for("the command", lambda: _running(tmp_path))
        process.send_signal(signal.SIGKILL)

    assert not final.exists()
    assert len(_names(tmp_path)) == 1
    Deadline(5).wait_for("its death", lambda: not _running(tmp_path))

    store.ensure(final, _make)
    assert _names(tmp_path) == ["thing"]
    assert _names(final) == ["one", "two"]


def _running(folder: Path) -> bool:
    """Whether the command that a build in `folder` runs for ever is alive."""
    word = f"sh-of-{folder.name}".encode()
    return any(word in _command_line(process) for process in Path("/proc").glob("[0-9]*"))


def _command_line(process: Path) -> bytes:
    try:
        return (process / "cmdline").read_bytes()
    except OSError:
        return b""  # gone meanwhile


def test_a_thing_is_built_once_by_many_at_a_time(tmp_path: Path) -> None:
    """
    Many who need the same thing at once get the same one, built once.

    Expected: one build for four threads.
    """
    built: list[Path] = []

    def make(half: Path) -> None:
        built.append(half)
        Deadline(1).pause(0.1)
        _make(half)

    threads = [
        threading.Thread(target=store.ensure, args=(tmp_path / "thing", make)) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(built) == 1
    assert _names(tmp_path / "thing") == ["one", "two"]


def test_a_build_without_a_result_is_an_error(tmp_path: Path) -> None:
    """
    A build that ends well and puts nothing down is not believed.

    Expected: `LabError`.
    """
    with pytest.raises(LabError, match="without a result"):
        store.ensure(tmp_path / "thing", lambda _: None)


def test_a_cache_that_cannot_be_made_is_one_clear_error(tmp_path: Path) -> None:
    """
    A cache folder below a file cannot be made.

    Expected: `LabError` whose remedy names the variable to set.
    """
    (tmp_path / "file").write_text("")
    with pytest.raises(LabError, match="cannot be made") as caught:
        store.ensure(tmp_path / "file" / "below" / "thing", _make)
    assert "MIGQUAL_CACHE" in caught.value.remedy


def test_a_key_tells_every_input_apart(tmp_path: Path) -> None:
    """
    Other strings, numbers, order, file contents and borders between inputs give another key.

    Expected: all keys differ; the same inputs give the same one.
    """
    file = tmp_path / "file"
    file.write_text("one")
    first = store.key_of(file)
    file.write_text("two")
    keys = [
        first,
        store.key_of(file),
        store.key_of("ab", "c"),
        store.key_of("a", "bc"),
        store.key_of("c", "ab"),
        store.key_of(1),
        store.key_of("1"),
        store.key_of(b"1"),
        store.key_of(("a", "b")),
    ]
    assert len(set(keys)) == len(keys)
    assert store.key_of("ab", "c") == keys[2]


def test_a_tree_is_named_after_what_it_consists_of() -> None:
    """
    Release, packages and variant each change a tree's key; order and repetition do not.

    Expected: four different keys, and one that is equal.
    """
    base = TreeSpec("bookworm", ("a", "b"))
    others = [
        TreeSpec("trixie", ("a", "b")),
        TreeSpec("bookworm", ("a",)),
        TreeSpec("bookworm", ("a", "b"), variant="extract"),
    ]
    assert len({base.key, *(spec.key for spec in others)}) == 4
    assert TreeSpec("bookworm", ("b", "a", "a")).key == base.key


@pytest.mark.skipif(os.geteuid() != 0, reason="trees are made by root")
def test_a_tree_that_cannot_be_made_ends_with_the_tool_s_last_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    mmdebstrap's failure is passed on with its last lines and a remedy; nothing is left.

    Preconditions: a stand-in for mmdebstrap that makes half a tree and fails.
    Expected: `LabError` with the words; no tree, no half one.
    """
    tool = tmp_path / "bin" / "mmdebstrap"
    tool.parent.mkdir()
    tool.write_text(
        '#!/bin/sh\nfor tree; do :; done\nmkdir "$tree"\necho E: no such release >&2\nexit 25\n'
    )
    tool.chmod(0o755)
    monkeypatch.delenv("MIGQUAL_MIRROR", raising=False)
    monkeypatch.setenv("PATH", f"{tool.parent}:{os.environ['PATH']}")
    with pytest.raises(LabError, match="status 25\n    E: no such release") as caught:
        ensure_tree(TreeSpec("woody", ()), tmp_path / "cache", lambda _: None)
    assert "apt-get install mmdebstrap" in caught.value.remedy
    assert _names(tmp_path / "cache" / "trees") == []


def test_a_missing_tool_is_one_clear_error() -> None:
    """
    A tool that is not installed is named, with the remedy that the caller gave.

    Expected: `LabError`.
    """
    with pytest.raises(LabError, match="migqual-no-such-tool is not installed") as caught:
        build.run(["migqual-no-such-tool"], what="a tree", remedy="install it")
    assert caught.value.remedy == "install it"


def test_kernel_arguments_name_networks_port_and_delay() -> None:
    """
    The command line carries what the guest's first process reads.

    Expected: MACs in lower case, the gateway with the first address, the console of the machine.
    """
    words = kernel_arguments(
        [("52:54:00:AA:00:01", "10.9.0.5/24"), ("52:54:00:AA:00:02", "")],
        port=7070,
        shutdown_delay=4,
        arch="aarch64",
        gateway="10.9.0.1",
    ).split()
    assert "console=ttyAMA0" in words
    assert "migqual.net=52:54:00:aa:00:01,10.9.0.5/24,10.9.0.1;52:54:00:aa:00:02" in words
    assert words[-2:] == ["migqual.port=7070", "migqual.shutdown_delay=4"]
    with pytest.raises(UsageError, match="no address"):
        kernel_arguments([("52:54:00:aa:00:01", "")], gateway="10.9.0.1")
