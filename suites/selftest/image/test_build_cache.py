"""The build cache never returns an incomplete build, and a key depends on all inputs."""

import os
import signal
import subprocess
import sys
import threading
import uuid
from pathlib import Path

import pytest

from migqual.architecture import Architecture
from migqual.deadline import Deadline
from migqual.errors import LabError, UsageError
from migqual.image import build_cache, isolated_command
from migqual.image.guest_image import build_kernel_command_line
from migqual.image.rootfs import RootfsSpec, ensure_rootfs

pytestmark = pytest.mark.selftest

ENDLESS_BUILD = """
import sys
from pathlib import Path
from migqual.image import build_cache, isolated_command

def build_image(partial_path: Path) -> None:
    partial_path.mkdir()
    (partial_path / "one").write_text("1")
    print("begun", flush=True)
    marker = f"sh-of-{partial_path.parent.name}"
    command = ["sh", "-c", "sleep 600; exit", marker]
    isolated_command.run_isolated(command, subject="sleep", remedy="")

build_cache.ensure_cached(Path(sys.argv[1]), build_image)
"""


def _build_two_files(partial_path: Path) -> None:
    partial_path.mkdir()
    (partial_path / "one").write_text("1")
    (partial_path / "two").write_text("2")


def _list_names(folder: Path) -> list[str]:
    """Return the sorted names in a folder, without lock files."""
    return sorted(path.name for path in folder.iterdir() if not path.name.endswith(".lock"))


def test_failed_build_leaves_no_files(tmp_path: Path) -> None:
    """
    A failed build leaves no files, and the caller gets the error.

    Expected: the error; an empty folder; the next build succeeds.
    """

    def fail_build(partial_path: Path) -> None:
        _build_two_files(partial_path)
        raise LabError("no space")

    with pytest.raises(LabError, match="no space"):
        build_cache.ensure_cached(tmp_path / "thing", fail_build)
    assert _list_names(tmp_path) == []
    assert build_cache.ensure_cached(tmp_path / "thing", _build_two_files) == tmp_path / "thing"


def test_killed_build_is_discarded(tmp_path: Path) -> None:
    """
    SIGKILL during a build also ends the commands of the build. The next build removes the
    leftovers and is complete.

    Preconditions: a build whose command sleeps for 600 s, in a separate process.
    Expected: after the kill neither the final path nor the command exists; after the next build
    only the final path exists.
    """
    folder = tmp_path / uuid.uuid4().hex  # another run may have left a command of this test
    folder.mkdir()
    final_path = folder / "thing"
    with subprocess.Popen(
        [sys.executable, "-c", ENDLESS_BUILD, str(final_path)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "begun\n"
        Deadline(5).wait_for("the start of the command", lambda: _is_command_running(folder))
        process.send_signal(signal.SIGKILL)

    assert not final_path.exists()
    assert len(_list_names(folder)) == 1
    Deadline(5).wait_for("the end of the command", lambda: not _is_command_running(folder))

    build_cache.ensure_cached(final_path, _build_two_files)
    assert _list_names(folder) == ["thing"]
    assert _list_names(final_path) == ["one", "two"]


@pytest.mark.parametrize("answer", [b"\n", b""], ids=["alive", "dead"])
def test_command_starts_only_with_a_living_parent(answer: bytes, tmp_path: Path) -> None:
    """
    A build command starts only if the parent process is alive.

    Preconditions: the new process reports to the parent and waits at a pipe. The parent writes
    a line to the pipe, or closes the pipe without a line, like a killed parent.
    Expected: the command runs only if the parent writes the line.
    """
    file = tmp_path / "created"
    ready_read, ready_write = os.pipe()
    go_read, go_write = os.pipe()
    with subprocess.Popen(
        [*isolated_command.build_isolation_command(ready_write, go_read), "touch", str(file)],
        pass_fds=(ready_write, go_read),
    ) as process:
        os.close(ready_write)
        os.close(go_read)
        assert os.read(ready_read, 1) == b"\n"
        os.write(go_write, answer)
        os.close(go_write)
    os.close(ready_read)

    assert (process.returncode == 0, file.exists()) == (bool(answer), bool(answer))


def _is_command_running(folder: Path) -> bool:
    """Return whether the command `sleep 600` of the build in `folder` is running."""
    marker = f"sh-of-{folder.name}".encode()
    return any(
        marker in _read_command_line(process_folder)
        for process_folder in Path("/proc").glob("[0-9]*")
    )


def _read_command_line(process_folder: Path) -> bytes:
    try:
        return (process_folder / "cmdline").read_bytes()
    except OSError:
        return b""  # the process has ended meanwhile


def test_parallel_requests_build_once(tmp_path: Path) -> None:
    """
    Parallel requests for the same result build once and share the result.

    Expected: a single build for four threads.
    """
    build_paths: list[Path] = []

    def record_build(partial_path: Path) -> None:
        build_paths.append(partial_path)
        Deadline(1).pause(0.1)
        _build_two_files(partial_path)

    threads = [
        threading.Thread(target=build_cache.ensure_cached, args=(tmp_path / "thing", record_build))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(build_paths) == 1
    assert _list_names(tmp_path / "thing") == ["one", "two"]


def test_a_build_without_a_result_is_an_error(tmp_path: Path) -> None:
    """
    A build function that creates neither a file nor a folder is an error.

    Preconditions: the function returns without an exception.
    Expected: `LabError`.
    """
    with pytest.raises(LabError, match="without a result"):
        build_cache.ensure_cached(tmp_path / "thing", lambda _: None)


def test_cache_folder_that_cannot_be_created(tmp_path: Path) -> None:
    """
    A cache folder below a file cannot be created.

    Expected: `LabError`; the remedy names the variable to set.
    """
    (tmp_path / "file").write_text("")
    with pytest.raises(LabError, match="cannot be created") as error_info:
        build_cache.ensure_cached(tmp_path / "file" / "below" / "thing", _build_two_files)
    assert "MIGQUAL_CACHE" in error_info.value.remedy


def test_key_depends_on_every_input(tmp_path: Path) -> None:
    """
    The cache key of a build depends on the value, type and order of each input, and on the
    contents of input files.

    Expected: all keys differ, also for the inputs `ab`, `c` and the inputs `a`, `bc`. The same
    inputs give the same key.
    """
    file = tmp_path / "file"
    file.write_text("one")
    first_key = build_cache.compute_key(file)
    file.write_text("two")
    keys = [
        first_key,
        build_cache.compute_key(file),
        build_cache.compute_key("ab", "c"),
        build_cache.compute_key("a", "bc"),
        build_cache.compute_key("c", "ab"),
        build_cache.compute_key(1),
        build_cache.compute_key("1"),
        build_cache.compute_key(b"1"),
        build_cache.compute_key(("a", "b")),
    ]
    assert len(set(keys)) == len(keys)
    assert build_cache.compute_key("ab", "c") == keys[2]


def test_rootfs_key_depends_on_its_contents() -> None:
    """
    The key of a root file system depends on release, packages and variant, not on the order or
    repetition of packages.

    Expected: another release, another list of packages or another variant gives another key. A
    list with reordered and repeated packages gives the same key.
    """
    base_spec = RootfsSpec("bookworm", ("a", "b"))
    changed_specs = [
        RootfsSpec("trixie", ("a", "b")),
        RootfsSpec("bookworm", ("a",)),
        RootfsSpec("bookworm", ("a", "b"), variant="extract"),
    ]
    assert len({base_spec.key, *(spec.key for spec in changed_specs)}) == 4
    assert RootfsSpec("bookworm", ("b", "a", "a")).key == base_spec.key


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can build a root file system")
def test_failed_rootfs_build_shows_mmdebstrap_output(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    A failure of mmdebstrap gives an error with the last lines of output and a remedy. No files
    are left.

    Preconditions: a fake mmdebstrap creates half a root file system and fails.
    Expected: `LabError` with the output; neither a complete nor a partial root file system.
    """
    fake_mmdebstrap = tmp_path / "bin" / "mmdebstrap"
    fake_mmdebstrap.parent.mkdir()
    fake_mmdebstrap.write_text(
        '#!/bin/sh\nfor tree; do :; done\nmkdir "$tree"\necho E: no such release >&2\nexit 25\n'
    )
    fake_mmdebstrap.chmod(0o755)
    monkeypatch.delenv("MIGQUAL_MIRROR", raising=False)
    monkeypatch.setenv("PATH", f"{fake_mmdebstrap.parent}:{os.environ['PATH']}")
    with pytest.raises(LabError, match="status 25\n    E: no such release") as error_info:
        ensure_rootfs(RootfsSpec("woody", ()), tmp_path / "cache", lambda _: None)
    assert "apt-get install mmdebstrap" in error_info.value.remedy
    assert _list_names(tmp_path / "cache" / "trees") == []


def test_missing_tool_raises_lab_error() -> None:
    """
    The error for a missing tool names the tool.

    Expected: `LabError` with the remedy that the caller passed as the argument `remedy`.
    """
    with pytest.raises(LabError, match="migqual-no-such-tool is not installed") as error_info:
        isolated_command.run_isolated(
            ["migqual-no-such-tool"], subject="a tree", remedy="install it"
        )
    assert error_info.value.remedy == "install it"


def test_kernel_command_line_has_networks_port_and_delay() -> None:
    """
    The kernel command line contains the networks, the port of migqual-payload and the shutdown
    delay.

    Expected: the command line names the serial console of the architecture, for example
    `ttyAMA0`. Each NIC has the MAC address in lower case and the IP address, if any. The first NIC
    also has the gateway. A gateway for a first NIC without an IP address raises `UsageError`.
    """
    arguments = build_kernel_command_line(
        [("52:54:00:AA:00:01", "10.9.0.5/24"), ("52:54:00:AA:00:02", "")],
        port=7070,
        shutdown_delay=4,
        architecture=Architecture.AARCH64,
        gateway="10.9.0.1",
    ).split()
    assert "console=ttyAMA0" in arguments
    assert "migqual.net=52:54:00:aa:00:01,10.9.0.5/24,10.9.0.1;52:54:00:aa:00:02" in arguments
    assert arguments[-2:] == ["migqual.port=7070", "migqual.shutdown_delay=4"]
    with pytest.raises(UsageError, match="no IP address"):
        build_kernel_command_line([("52:54:00:aa:00:01", "")], gateway="10.9.0.1")
