"""LM-TLS-01: `migqual tls` installs, checks, renews and restores certificates."""

import json
import os
import subprocess
import sys
from pathlib import Path, PurePosixPath

import pytest

from fixtures.plugins.encryption import Encryption
from migqual.hosts.host import Host
from migqual.inventory.entities import Inventory
from migqual.testbed.host_pair import HostPair
from migqual.tls import host_certificates
from migqual.tls.certificate_authority import CA_CRL, SERVER_CERT
from migqual.tls.certificate_facts import collect_certificate_facts
from migqual.tls.host_settings import read_tls_settings

MIGQUAL = Path(sys.executable).with_name("migqual")


@pytest.mark.requirement("LM-TLS-01")
def test_tls_command_manages_certificates(
    encryption: Encryption, inventory: Inventory, pair: HostPair, tmp_path: Path
) -> None:
    """
    A user can install, check and renew certificates, and restore the previous certificates.

    Preconditions: other certificates exist on the hosts.
    Expected: the check accepts the new certificates, and renewal changes the certificates.
    Restoring a host does not change the other host. Afterwards both hosts are in the same state
    as before.
    """
    host_names = [host.name for host in pair.hosts]
    source, destination = host_names
    encryption.get_identity(pair.source)
    states_before = [host_certificates.read_tls_checksums(host) for host in pair.hosts]

    def run_tls(action: str, *arguments: str) -> str:
        result = run_tls_command(inventory, tmp_path, action, *arguments)
        assert result.returncode == 0, result.stdout + result.stderr
        return result.stdout

    run_tls("install", *host_names)
    installed_certificates = read_server_certificates(pair)
    verdicts = {row["severity"] for row in json.loads(run_tls("check", "--json", *host_names))}
    run_tls("rotate", *host_names)
    renewed_certificates = read_server_certificates(pair)
    run_tls("restore", source)
    restored_source = [
        host_certificates.read_tls_checksums(pair.source),
        read_server_certificates(pair)[1],
    ]
    run_tls("restore", destination)

    assert verdicts == {"ok"}
    assert all(
        old != new for old, new in zip(installed_certificates, renewed_certificates, strict=True)
    )
    assert restored_source == [states_before[0], renewed_certificates[1]]
    assert [host_certificates.read_tls_checksums(host) for host in pair.hosts] == states_before


@pytest.mark.requirement("LM-TLS-01")
def test_tls_command_keeps_changed_certificates(
    encryption: Encryption, inventory: Inventory, pair: HostPair, tmp_path: Path
) -> None:
    """
    Certificates changed by an administrator after the installation are neither overwritten nor
    removed.

    Preconditions: the command has installed certificates; then a file in the certificate folder
    is changed.
    Expected: the actions `rotate` and `restore` refuse, name the folder, and change no file in
    the folder. After the change is undone, `restore` brings back the certificates from before
    the installation.
    """
    host = pair.source
    state_before = host_certificates.read_tls_checksums(host)
    assert set(encryption.identities) == {one.name for one in pair.hosts}

    assert run_tls_command(inventory, tmp_path, "install", host.name).returncode == 0
    crl_path = read_tls_settings(host).certificate_folder / CA_CRL
    host.shell.run("touch", crl_path)
    changed_files = list_checksums(host, crl_path.parent)
    refused_results = [
        run_tls_command(inventory, tmp_path, action, host.name) for action in ("rotate", "restore")
    ]
    files_after_refusal = list_checksums(host, crl_path.parent)
    host.shell.run("rm", crl_path)
    restore_result = run_tls_command(inventory, tmp_path, "restore", host.name)

    assert [result.returncode for result in refused_results] == [3, 1]
    assert all(
        "changed by somebody else" in result.stdout + result.stderr for result in refused_results
    )
    assert files_after_refusal == changed_files != ""
    assert restore_result.returncode == 0, restore_result.stdout + restore_result.stderr
    assert host_certificates.read_tls_checksums(host) == state_before


def list_checksums(host: Host, folder: PurePosixPath) -> str:
    """List the checksums of the files in a folder of the host."""
    return host.shell.run("sh", "-c", 'cd -- "$1" && sha256sum -- *', "sh", folder).stdout


def read_server_certificates(pair: HostPair) -> list[bytes]:
    """Return the server certificate of each host."""
    return [collect_certificate_facts(host).certificates[SERVER_CERT] for host in pair.hosts]


def run_tls_command(
    inventory: Inventory, state_folder: Path, *arguments: str
) -> subprocess.CompletedProcess[str]:
    """Run `migqual tls` with a separate state folder for the test.

    So the test does not change certificates that the user installed with `migqual tls`.
    """
    action, *options = arguments
    return subprocess.run(
        [MIGQUAL, "tls", action, "--inventory", str(inventory.file), *options],
        env=os.environ | {"MIGQUAL_STATE": str(state_folder)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
