"""The connections to hosts, on real hosts: commands, files, jump hosts, keys, losses."""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from fixtures.plugins.guests import MakeGuest
from fixtures.plugins.hosts import Pair
from migqual.deadline import Deadline
from migqual.errors import CommandFailed, ConnectionLost, MigrationAborted
from migqual.hosts import connection, daemon
from migqual.hosts.host import Host
from migqual.hosts.provision import Provisioner
from migqual.hosts.shell import Shell
from migqual.model.guest import GuestSpec, Load, MemoryLoad
from migqual.model.outcome import JobSample, Outcome
from migqual.model.plan import Plan

pytestmark = pytest.mark.oracle

ASKED_SECONDS = 8.0
ASKED_LEAST = 500
SOON_SECONDS = 2.0


@pytest.fixture
def shell(pair: Pair) -> Iterator[Shell]:
    """A connection of the test's own, which it may break."""
    with Shell(pair.source.entry) as shell:
        yield shell


def test_arguments_arrive_as_they_are(shell: Shell) -> None:
    """Spaces, quotes, dollars and newlines are nobody's business on the way."""
    words = ("two  words", "it's", '"$HOME"', "a\nb", "*", "")

    done = shell.run("printf", "[%s]", *words)

    assert done.stdout == "".join(f"[{word}]" for word in words)


def test_large_output_on_both_streams_is_complete(shell: Shell) -> None:
    """Neither stream blocks the other, however much comes."""
    script = "head -c 3000000 /dev/zero; head -c 3000000 /dev/zero >&2"

    done = shell.run("sh", "-c", script)

    assert (len(done.stdout), len(done.stderr)) == (3_000_000, 3_000_000)


def test_failure_tells_host_command_and_words(shell: Shell, pair: Pair) -> None:
    """An error names the host, the command, the status and what it said."""
    with pytest.raises(CommandFailed, match="no-such-file") as failed:
        shell.run("cat", "/no-such-file")

    assert (failed.value.host, failed.value.status) == (pair.source.name, 1)


def test_files_travel_both_ways(pair: Pair, provision: Provisioner) -> None:
    """What was put is what one gets."""
    data = bytes(range(256)) * 5000
    target = provision.stage(pair.source) / "file with spaces"

    pair.source.shell.put(data, target)

    assert pair.source.shell.get(target) == data


def test_more_commands_at_once_than_the_server_has_sessions_for(shell: Shell) -> None:
    """
    A server that refuses a session is asked again; commands that run already are not disturbed.

    Preconditions: the server's own limit of sessions, ten unless its owner set another.
    Expected: every one of 25 commands at once is answered.
    """
    with ThreadPoolExecutor(25) as pool:
        answers = list(pool.map(lambda n: shell.run("sh", "-c", f"sleep 0.3; echo {n}"), range(25)))

    assert [answer.stdout for answer in answers] == [f"{n}\n" for n in range(25)]


def test_short_commands_side_by_side_keep_the_connection(shell: Shell) -> None:
    """
    Commands that end before anything can be said to them do not cost the connection.

    Expected: hundreds of them, eight at a time, are all answered.
    """
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: shell.run("true"), range(600)))

    assert {answer.status for answer in answers} == {0}


def test_command_that_is_killed_is_no_answer(shell: Shell) -> None:
    """
    A command that ended without a status has not answered, whatever it printed.

    Expected: an error that names the host and the command.
    """
    with pytest.raises(ConnectionLost, match="without a status"):
        shell.attempt("sh", "-c", "echo half; kill -KILL $$")


def test_lost_connection_is_opened_again_once(shell: Shell) -> None:
    """A connection that broke breaks the command that was under way, and not the next one."""
    shell.run("true")
    with pytest.raises(ConnectionLost):
        shell.attempt("sh", "-c", "kill -9 $(ps -o ppid= -p $$)", seconds=5)

    assert shell.run("echo", "again").stdout == "again\n"


def test_libvirt_connection_survives_a_restart_of_the_daemon(pair: Pair) -> None:
    """libvirt's daemon is restarted; the next call opens a new connection."""
    with Host(pair.source.entry) as host:
        before = host.libvirt.versions()
        host.shell.run("systemctl", "restart", "libvirtd")

        assert host.libvirt.versions() == before


def test_daemon_that_hangs_is_told(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    """A daemon that takes connections and says nothing does not hold us for ever."""
    monkeypatch.setattr(connection, "OPEN_SECONDS", 2.0)
    with Host(pair.source.entry) as host:
        signal = ("systemctl", "kill", f"{daemon.unit(host)}.service", "--signal")
        host.shell.run(*signal, "STOP")
        try:
            with pytest.raises(ConnectionLost, match="no answer within 2 s"):
                host.libvirt.versions()
        finally:
            host.shell.run(*signal, "CONT")

        assert host.libvirt.versions()


def test_jump_host(pair: Pair) -> None:
    """The destination is reached through the source."""
    source, destination = pair.source.entry, pair.destination.entry
    through = replace(destination, jump_hosts=(f"{source.user}@{source.address}:{source.port}",))

    with Shell(through) as shell:
        peer = shell.run("printenv", "SSH_CONNECTION").stdout.split()[0]
        own = Shell(destination)
        with own:
            direct = own.run("printenv", "SSH_CONNECTION").stdout.split()[0]

    assert peer != direct


@pytest.mark.parametrize("jump", [False, True], ids=["direct", "through-the-source"])
def test_ssh_config_names_addresses_and_key(pair: Pair, tmp_path: Path, *, jump: bool) -> None:
    """Where the inventory names no key, the user's ssh_config does; for jump hosts too."""
    way, entry = pair.source.entry, pair.destination.entry
    config = tmp_path / "ssh_config"
    config.write_text(
        f"Host way\n HostName {way.address}\n IdentityFile {way.key}\n"
        f"Host qualified\n HostName {entry.address}\n IdentityFile {entry.key}\n"
    )
    hops = (f"{way.user}@way:{way.port}",) if jump else ()

    by_config = replace(entry, address="qualified", key=None, ssh_config=config, jump_hosts=hops)
    with Shell(by_config) as shell:
        assert shell.run("echo", "in").stdout == "in\n"


def test_unknown_host_key_is_refused(pair: Pair, tmp_path: Path) -> None:
    """A host whose key nobody vouched for is not spoken to."""
    empty = tmp_path / "known_hosts"
    empty.touch()

    with pytest.raises(ConnectionLost, match="known_hosts"):
        Shell(replace(pair.source.entry, known_hosts=empty)).run("true")


def test_host_that_is_not_there_is_named(pair: Pair) -> None:
    """The error says which host, and what to look at."""
    nobody = replace(pair.source.entry, name="ghost", port=1)

    with pytest.raises(ConnectionLost, match="ghost") as lost:
        Shell(nobody).run("true")

    assert lost.value.remedy


def test_command_that_hangs_is_an_error(shell: Shell) -> None:
    """A command without an end does not hold us for ever."""
    with pytest.raises(ConnectionLost, match="no answer within 1 s"):
        shell.run("sleep", "30", seconds=1)


def test_short_calls_do_not_wait_beside_a_migration(
    make_guest: MakeGuest, migrate: Callable[..., Outcome]
) -> None:
    """
    What libvirt is asked during a migration is asked at once.

    Preconditions: the call that migrates blocks for seconds; the domain's job is asked for without
    a pause. On one connection with it, some of the questions would wait for the keepalive.
    Expected: no answer takes anything like its 5 s.
    """
    guest = make_guest(GuestSpec(load=Load("full", memory=MemoryLoad(mib=96))))
    took_s: list[float] = []

    def ask_without_a_pause(_sample: JobSample) -> bool:
        deadline = Deadline(ASKED_SECONDS)
        while not deadline.passed:
            asked = time.monotonic()
            guest.domain.job_stats()
            took_s.append(time.monotonic() - asked)
        return True

    with pytest.raises(MigrationAborted):
        migrate(guest, Plan(bandwidth_mib_s=4), on_sample=ask_without_a_pause)

    assert len(took_s) > ASKED_LEAST
    assert max(took_s) < SOON_SECONDS
