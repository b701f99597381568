"""Connections to real hosts: commands, files, jump hosts, keys, lost connections."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from migqual.deadline import Deadline
from migqual.errors import CommandFailed, ConnectionLost, MigrationAborted
from migqual.hosts import connection, libvirt_daemon, qemu_probe
from migqual.hosts.domain_job import query_job_stats
from migqual.hosts.host import Host
from migqual.hosts.shell import Shell
from migqual.inventory.entities import format_uri_host
from migqual.migration.job_sampler import SampleAction
from migqual.model.guest_spec import GuestLoad, GuestSpec, MemoryLoad
from migqual.model.outcome import JobSample
from migqual.model.plan import Plan
from migqual.testbed.host_pair import HostPair
from migqual.testbed.testbed import Testbed

pytestmark = pytest.mark.observer_check

LOGGING_EMULATOR = """\
#!/bin/sh
(n=0; while [ $n -lt 3000 ]; do printf 'qemu-kvm: message %s ' $n >&2; n=$((n + 1)); done) &
exec {emulator} "$@"
"""
QUERY_SECONDS = 8.0
MIN_QUERIES = 500
MAX_ANSWER_SECONDS = 2.0


@pytest.fixture
def shell(pair: HostPair) -> Iterator[Shell]:
    """Yield a connection for a single test; the test may break the connection."""
    with Shell(pair.source.entry) as shell:
        yield shell


def test_arguments_arrive_as_they_are(shell: Shell) -> None:
    """Spaces, quotes, dollar signs and newlines in arguments arrive unchanged."""
    arguments = ("two  words", "it's", '"$HOME"', "a\nb", "*", "")

    result = shell.run("printf", "[%s]", *arguments)

    assert result.stdout == "".join(f"[{argument}]" for argument in arguments)


def test_large_output_on_both_streams_is_complete(shell: Shell) -> None:
    """Large output on standard output and standard error is complete: no stream blocks another."""
    script = "head -c 3000000 /dev/zero; head -c 3000000 /dev/zero >&2"

    result = shell.run("sh", "-c", script)

    assert len(result.stdout) == 3_000_000
    assert result.stderr.count("\0") == 3_000_000  # a shell may add a warning about the locale


def test_answers_of_an_emulator_that_logs_all_the_time(
    testbed: Testbed,
) -> None:
    """
    migqual reads complete answers from QEMU, even if QEMU writes log messages at the same time.

    Preconditions: a wrapper script starts QEMU. While QEMU answers, the script writes messages to
    standard error, without line ends, as if QEMU wrote the messages.
    Expected: QEMU reports the same features as without the wrapper script.
    """
    host = testbed.source
    wrapper = testbed.provisioner.get_run_folder(host) / "logging-emulator"
    host.shell.upload_file(
        LOGGING_EMULATOR.format(emulator=host.names.emulator).encode(),
        wrapper,
        mode=0o755,
    )
    features = qemu_probe.query_migration_features(host)

    with Host(replace(host.entry, emulator=str(wrapper))) as logging_host:
        assert qemu_probe.query_migration_features(logging_host) == features


def test_failure_names_host_command_and_message(shell: Shell, pair: HostPair) -> None:
    """The error of a command names the host, the command, the status and the output."""
    with pytest.raises(CommandFailed, match="no-such-file") as failure:
        shell.run("cat", "/no-such-file")

    assert (failure.value.host, failure.value.status) == (pair.source.name, 1)


def test_files_are_copied_both_ways(testbed: Testbed) -> None:
    """A file written to a host is read back unchanged."""
    data = bytes(range(256)) * 5000
    target = testbed.provisioner.stage_files(testbed.source) / "file with spaces"

    testbed.source.shell.upload_file(data, target)

    assert testbed.source.shell.read_file(target) == data


def test_more_commands_at_once_than_the_server_has_sessions_for(shell: Shell) -> None:
    """
    A session refused by the SSH server is requested again, and running commands are not
    disturbed.

    Preconditions: the SSH server limits the number of sessions, to ten by default.
    Expected: each of 25 commands at the same time gets an answer.
    """
    with ThreadPoolExecutor(25) as pool:
        results = list(
            pool.map(lambda number: shell.run("sh", "-c", f"sleep 0.3; echo {number}"), range(25))
        )

    assert [result.stdout for result in results] == [f"{n}\n" for n in range(25)]


def test_short_commands_side_by_side_keep_the_connection(shell: Shell) -> None:
    """
    Very short commands in parallel do not break the connection.

    Such a command ends before migqual can send the standard input.

    Expected: 600 commands, eight at a time, all get an answer.
    """
    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(lambda _: shell.run("true"), range(600)))

    assert {result.status for result in results} == {0}


def test_killed_command_is_an_error(shell: Shell) -> None:
    """
    A command that ends without an exit status is an error, even if it printed output before.

    Expected: the error names the host and the command.
    """
    with pytest.raises(ConnectionLost, match="without a status"):
        shell.run_unchecked("sh", "-c", "echo half; kill -KILL $$")


def test_lost_connection_is_reopened(shell: Shell) -> None:
    """A lost connection fails the running command, but not the next command."""
    shell.run("true")
    with pytest.raises(ConnectionLost):
        shell.run_unchecked("sh", "-c", "kill -9 $(ps -o ppid= -p $$)", seconds=5)

    assert shell.run("echo", "again").stdout == "again\n"


def test_libvirt_connection_survives_a_restart_of_the_daemon(pair: HostPair) -> None:
    """After a restart of libvirt's daemon the next call opens a new connection."""
    with Host(pair.source.entry) as host:
        versions_before = host.libvirt.query_versions()
        host.shell.run("systemctl", "restart", "libvirtd")

        assert host.libvirt.query_versions() == versions_before


def test_hanging_daemon_is_an_error(pair: HostPair, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    A call to libvirt ends with an error if libvirt's daemon hangs.

    Preconditions: the daemon is stopped with SIGSTOP. The time limit `OPEN_SECONDS` is 2 s.
    Expected: the call ends with an error after 2 s. When the daemon continues, the next call
    succeeds.
    """
    monkeypatch.setattr(connection, "OPEN_SECONDS", 2.0)
    with Host(pair.source.entry) as host:
        signal_command = (
            "systemctl",
            "kill",
            f"{libvirt_daemon.find_daemon_unit(host)}.service",
            "--signal",
        )
        host.shell.run(*signal_command, "STOP")
        try:
            with pytest.raises(ConnectionLost, match="no answer within 2 s"):
                host.libvirt.query_versions()
        finally:
            host.shell.run(*signal_command, "CONT")

        assert host.libvirt.query_versions()


def test_jump_host(pair: HostPair) -> None:
    """With the source as jump host, the destination is reached through the source."""
    source, destination = pair.source.entry, pair.destination.entry
    jump_host = f"{source.user}@{format_uri_host(source.address)}:{source.port}"
    entry_behind_jump_host = replace(destination, jump_hosts=(*source.jump_hosts, jump_host))

    with Shell(entry_behind_jump_host) as shell:
        client_address = shell.run("printenv", "SSH_CONNECTION").stdout.split()[0]
        direct_shell = Shell(destination)
        with direct_shell:
            direct_client_address = direct_shell.run("printenv", "SSH_CONNECTION").stdout.split()[0]

    assert client_address != direct_client_address


@pytest.mark.parametrize("jump", [False, True], ids=["direct", "through-the-source"])
def test_ssh_config_names_addresses_and_key(pair: HostPair, tmp_path: Path, *, jump: bool) -> None:
    """
    The file ssh_config can name the address and the key of a host and of a jump host.

    Preconditions: the inventory has an alias of ssh_config instead of the address, and no key.
    Expected: migqual logs in to the host, directly or through a jump host.
    """
    jump_entry, entry = pair.source.entry, pair.destination.entry
    config = tmp_path / "ssh_config"
    config.write_text(
        f"Host way\n HostName {jump_entry.address}\n IdentityFile {jump_entry.key}\n"
        f"Host qualified\n HostName {entry.address}\n IdentityFile {entry.key}\n"
        f"Host *\n IdentityFile {entry.key}\n"  # for a jump host between controller and source
    )
    way = f"{jump_entry.user}@way:{jump_entry.port}"
    jump_hosts = (*jump_entry.jump_hosts, way) if jump else entry.jump_hosts

    configured_entry = replace(
        entry, address="qualified", key=None, ssh_config=config, jump_hosts=jump_hosts
    )
    with Shell(configured_entry) as shell:
        assert shell.run("echo", "in").stdout == "in\n"


def test_unknown_host_key_is_refused(pair: HostPair, tmp_path: Path) -> None:
    """A connection to a host with an unknown host key is refused."""
    empty = tmp_path / "known_hosts"
    empty.touch()

    with pytest.raises(ConnectionLost, match="known_hosts"):
        Shell(replace(pair.source.entry, known_hosts=empty)).run("true")


def test_unreachable_host_is_named(pair: HostPair) -> None:
    """The error of an unreachable host names the host and a remedy."""
    absent_host = replace(pair.source.entry, name="ghost", port=1)

    with pytest.raises(ConnectionLost, match="ghost") as failure:
        Shell(absent_host).run("true")

    assert failure.value.remedy


def test_command_that_hangs_is_an_error(shell: Shell) -> None:
    """A command that does not end does not block migqual for ever."""
    with pytest.raises(ConnectionLost, match="no answer within 1 s"):
        shell.run("sleep", "30", seconds=1)


def test_short_calls_are_not_delayed_by_a_migration(testbed: Testbed) -> None:
    """
    A migration does not delay short libvirt calls, for example a query of the job.

    Preconditions: a migration runs for seconds. Its libvirt call has its own connection. A loop
    queries the domain's job without a pause, on another connection. On a common connection,
    libvirt could delay a query until the next keepalive message, up to 5 s.
    Expected: each query gets its answer in less than 2 s.
    """
    guest = testbed.make_guest(GuestSpec(load=GuestLoad("full", memory=MemoryLoad(size_mib=96))))
    answer_seconds: list[float] = []

    def query_without_pause(_sample: JobSample) -> SampleAction | None:
        deadline = Deadline(QUERY_SECONDS)
        while not deadline.is_over:
            asked_at = time.monotonic()
            query_job_stats(guest.domain)
            answer_seconds.append(time.monotonic() - asked_at)
        return SampleAction.ABORT

    with pytest.raises(MigrationAborted):
        testbed.migrate(guest, Plan(bandwidth_mib_s=4), on_sample=query_without_pause)

    assert len(answer_seconds) > MIN_QUERIES
    assert max(answer_seconds) < MAX_ANSWER_SECONDS
