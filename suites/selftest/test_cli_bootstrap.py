"""What `make` says where it cannot go on: one line, what to do, exit code 2."""

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

import bootstrap
from migqual import places

pytestmark = [
    pytest.mark.selftest,
    pytest.mark.skipif(os.geteuid() != 0, reason="drops rights, which takes root"),
]

BOOTSTRAP = [sys.executable, str(places.ROOT / "lib" / "bootstrap.py")]
# The interpreter may lie where only root can read it, so it is started by root.
AS_NOBODY = "import bootstrap, os, sys; os.setuid(65534); sys.exit(bootstrap.main())"


def refusal(*argv: str, environment: Mapping[str, str] | None = None) -> str:
    """Run the bootstrap where it must refuse; its one line."""
    said = subprocess.run(
        argv or BOOTSTRAP,
        env={**os.environ, "PYTHONPATH": str(places.ROOT / "lib"), **(environment or {})},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (said.returncode, said.stdout) == (2, ""), said.stderr
    (line,) = said.stderr.splitlines()
    return line


def test_not_root() -> None:
    """Another user is told to use sudo."""
    assert refusal(sys.executable, "-c", AS_NOBODY).endswith("use sudo make")


def test_no_package_manager() -> None:
    """Neither apt nor dnf: the systems that will do are named."""
    assert "use Debian, Ubuntu or openEuler" in refusal(environment={"PATH": "/nonexistent"})


@pytest.fixture
def dnf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine with dnf and nothing installed; the file that says what dnf was told."""
    told = tmp_path / "told"
    for name, body in (("rpm", "exit 1"), ("dnf", f'echo "$@" >> {told}')):
        (tmp_path / name).write_text(f"#!/bin/sh\n{body}\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    return told


def test_no_lab_with_dnf(dnf: Path) -> None:
    """The lab takes Debian's tools; hosts of one's own do not."""
    assert not dnf.exists()
    assert "needs Debian or Ubuntu: name hosts of your own" in refusal()


def test_hosts_of_ones_own_with_dnf(dnf: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What a run on an inventory needs is named with its reason and installed; no lab tools."""
    bootstrap.install(bootstrap.find_manager(lab=False), bootstrap.packages(lab=False))

    said = capsys.readouterr().out
    assert "libvirt-devel" in said
    assert "builds the libvirt binding" in said
    assert "copy /var/cache/migqual/guest from a Debian machine" in said
    (line,) = dnf.read_text().splitlines()
    assert {"install", "-y", "glibc-static", "openssh-clients"} <= set(line.split())
    assert "iproute" not in line


def test_no_space() -> None:
    """The folder, what is free and what is needed, and what to set. /sys never has any."""
    line = refusal(environment={"MIGQUAL_CACHE": "/sys/migqual"})

    assert "/sys: 0.0 GiB free, 4.0 GiB needed" in line
    assert "MIGQUAL_CACHE" in line


def test_unprivileged_container() -> None:
    """Root without the right to make namespaces, as in a container: told before installing."""
    line = refusal("setpriv", "--bounding-set", "-sys_admin", *BOOTSTRAP)

    assert "namespaces are not allowed here (unshare: unshare failed: Operation not" in line
    assert "--privileged" in line
    assert "INVENTORY=file" in line


def test_no_overlay(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file system that cannot carry an overlay is found by trying. /proc cannot."""
    monkeypatch.setenv("MIGQUAL_CACHE", "/proc/migqual")

    with pytest.raises(bootstrap.CannotGoOn, match=r"over /proc .*set MIGQUAL_CACHE"):
        bootstrap.check_overlay(("unshare", "--mount"))


def test_a_check_shows_the_reason() -> None:
    """What the system says is part of the line."""
    with pytest.raises(bootstrap.CannotGoOn, match=r"no luck \(ls: .*No such file.*\): try again"):
        bootstrap.try_out(["ls", "/nonexistent"], "no luck", "try again")
