"""If `make` cannot continue, the bootstrap prints a line with problem and remedy: exit code 2."""

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

import bootstrap
import machine_features
from migqual import paths

pytestmark = [
    pytest.mark.selftest,
    pytest.mark.skipif(os.geteuid() != 0, reason="only root can drop privileges"),
]

BOOTSTRAP = [sys.executable, str(paths.ROOT / "lib" / "bootstrap.py")]
# Root starts the interpreter: the folder of the interpreter may be readable only for root.
UNPRIVILEGED_SCRIPT = "import bootstrap, os, sys; os.setuid(65534); sys.exit(bootstrap.main())"


def expect_refusal(*argv: str, environment: Mapping[str, str] | None = None) -> str:
    """Run the bootstrap (`lib/bootstrap.py`), expect exit code 2, and return the error line.

    The bootstrap is the first step of each `make` command.
    """
    result = subprocess.run(
        argv or BOOTSTRAP,
        env={**os.environ, "PYTHONPATH": str(paths.ROOT / "lib"), **(environment or {})},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (result.returncode, result.stdout) == (2, ""), result.stderr
    (line,) = result.stderr.splitlines()
    return line


def test_not_root() -> None:
    """If a user other than root runs `make`, the error gives the advice to use `sudo make`."""
    assert expect_refusal(sys.executable, "-c", UNPRIVILEGED_SCRIPT).endswith("use sudo make")


def test_no_package_manager() -> None:
    """If the machine has neither apt nor dnf, the error names the supported systems."""
    assert "use Debian, Ubuntu or openEuler" in expect_refusal(environment={"PATH": "/nonexistent"})


@pytest.fixture
def dnf_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Simulate a machine with dnf and without packages; return the log of dnf's arguments."""
    log_file = tmp_path / "told"
    for name, script in (("rpm", "exit 1"), ("dnf", f'echo "$@" >> {log_file}')):
        (tmp_path / name).write_text(f"#!/bin/sh\n{script}\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    return log_file


def test_no_lab_with_dnf(dnf_log: Path) -> None:
    """A lab is refused on a machine with dnf, because a lab needs Debian or Ubuntu."""
    assert not dnf_log.exists()
    assert "needs Debian or Ubuntu: name hosts of your own" in expect_refusal()


def test_dnf_installs_packages_for_an_inventory_run(
    dnf_log: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With dnf, the bootstrap installs the packages for a run on an inventory.

    The bootstrap also prints the reason for each package. Packages that only a lab needs are not
    installed, for example `iproute`.
    """
    bootstrap.install_packages(
        bootstrap.find_manager(lab=False), bootstrap.list_packages(lab=False)
    )

    output = capsys.readouterr().out
    assert "libvirt-devel" in output
    assert "builds the libvirt binding" in output
    assert "copy /var/cache/migqual/guest from a Debian machine" in output
    (line,) = dnf_log.read_text().splitlines()
    assert {"install", "-y", "glibc-static", "openssh-clients"} <= set(line.split())
    assert "iproute" not in line


def test_no_disk_space() -> None:
    """If the disk is full, the error names the folder, the needed space and the variable to set.

    Preconditions: the cache is on /sys, which never has free space.
    """
    line = expect_refusal(environment={"MIGQUAL_CACHE": "/sys/migqual"})

    assert "/sys: 0.0 GiB free, 4.0 GiB needed" in line
    assert "MIGQUAL_CACHE" in line


def test_unprivileged_container() -> None:
    """If root may not create namespaces, as in a container, the bootstrap prints an error.

    The error contains the reason and two remedies: `docker run --privileged`, or
    `make qualify INVENTORY=file` with hosts of the user. The bootstrap (the first step of each
    `make` command) prints the error before the installation of packages.
    """
    line = expect_refusal("setpriv", "--bounding-set", "-sys_admin", *BOOTSTRAP)

    reason = "unshare: unshare failed: Operation not"
    assert f"namespaces are not allowed on this machine ({reason}" in line
    assert "--privileged" in line
    assert "INVENTORY=file" in line


def test_no_overlay_file_system(monkeypatch: pytest.MonkeyPatch) -> None:
    """A test mount detects a file system without support for an overlay, such as /proc."""
    monkeypatch.setenv("MIGQUAL_CACHE", "/proc/migqual")

    with pytest.raises(machine_features.BootstrapError, match=r"over /proc .*set MIGQUAL_CACHE"):
        machine_features.check_overlay(("unshare", "--mount"))


def test_failed_check_shows_the_error_of_the_command() -> None:
    """If a command that tests the machine fails, the error contains the message of the command."""
    with pytest.raises(
        machine_features.BootstrapError, match=r"no luck \(ls: .*No such file.*\): try again"
    ):
        machine_features.check_command(["ls", "/nonexistent"], "no luck", "try again")
