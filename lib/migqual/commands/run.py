"""`migqual run`: build the lab or take an inventory, run the suites, say the verdict."""

import argparse
import fcntl
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from migqual import places
from migqual.commands import lab as lab_command
from migqual.commands import sweep
from migqual.commands.lab import say
from migqual.errors import TroubleError, UsageError
from migqual.hosts import reach
from migqual.image.cloud import ensure_cloud_image
from migqual.lab import life, state
from migqual.lab.layout import LabLayout, check_name
from migqual.model.finding import Severity
from migqual.model.inventory import Inventory
from migqual.model.inventory_file import load_inventory
from migqual.model.profile import load_profile, profile_names
from migqual.report import folder, publish, smoke, terminal
from migqual.report.judge import judge, qualifies

if TYPE_CHECKING:
    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]  # noqa: SLF001 - has no other name

CLEAN_SECONDS = 120.0
ENDED_BY_ITSELF = {0, 1}  # all passed; some did not
REFUSED = 4  # pytest's exit code for arguments that it does not take
COMPLAINT = re.compile(r"^(?:ERROR|\S+: error): (?!usage:)(.+)$", re.MULTILINE)
SUITES = "not selftest and not oracle"
SUITES_AND_ORACLES = "not selftest and not long"
LANES_MOST = 16  # as many tests may take a turn at once, and have addresses for their guests
LIFE_OF_A_LAB = "suites/oracles/test_lab_life.py"  # builds labs itself, which a lab does not allow


@dataclass(frozen=True)
class Target:
    """The hosts to qualify, and the lab they are in, if they are in one."""

    inventory: Path
    lab: LabLayout | None = None


def register(subparsers: "Subparsers") -> None:
    command = subparsers.add_parser(
        "run",
        usage="migqual run [--topology T | --inventory F] [--profile P] [options] [-- PYTEST ...]",
        description="Anything else is handed to pytest: -k tls, --maxfail=1, a file, a test's id. "
        "Exit code 0 only when every pair qualifies under the profile.",
        allow_abbrev=False,
    )
    hosts = command.add_mutually_exclusive_group()
    hosts.add_argument("--inventory", type=Path, metavar="FILE", help="hosts of your own; no lab")
    hosts.add_argument("--topology", metavar="NAME|FILE", help="the lab to build if none is up")
    lab_command.add_lanes(command, default=min(LANES_MOST, len(os.sched_getaffinity(0))))
    command.add_argument("--profile", metavar="NAME|FILE", help="what is demanded of the hosts")
    command.add_argument("--name", default=lab_command.NAME, help="of the lab (default: lab)")
    command.add_argument("--keep", action="store_true", help="leave the lab up afterwards")
    command.add_argument("--serial", action="store_true", help="one pair after the other")
    command.add_argument("--out", type=Path, default=places.OUT, metavar="DIR", help="for reports")
    kind = command.add_mutually_exclusive_group()
    kind.add_argument(
        "--oracles",
        action="store_true",
        help="test the suites rather than the hosts: also the tests that damage things on purpose, "
        "each test on one pair only, without the long ones, and all must pass",
    )
    kind.add_argument(
        "--smoke",
        action="store_true",
        help="of each requirement only the shortest test that shows it, on the first pair (in a "
        "lab on any of its pairs): what works here, in minutes; no verdict",
    )
    command.set_defaults(run=run, pytest=[])


def run(arguments: argparse.Namespace) -> int:
    own = _checked(arguments)
    with publish.claim(arguments.out):  # then the session does
        publish.clear(arguments.out, foreign=True)
        if own is not None:
            _reach(own)
    with _swept() as inventories, _target(arguments) as target:
        inventories.append(target.inventory)
        if arguments.oracles and target.lab is not None:
            # built from packages, which nobody reaches from inside the lab
            ensure_cloud_image(places.cache(), say=say)
        status = _pytest(arguments, target)
    return _verdict(arguments, status)


def _checked(arguments: argparse.Namespace) -> Inventory | None:
    """The inventory, if one was named. What cannot be used is told before a lab is built, and
    before an older report is cleared."""
    check_name(arguments.name)
    if arguments.pytest:
        _check_arguments(arguments.pytest)
    if arguments.profile:
        load_profile(arguments.profile)
        if arguments.profile not in profile_names():
            arguments.profile = Path(arguments.profile).absolute()  # pytest starts elsewhere
    if arguments.inventory is not None:
        return load_inventory(arguments.inventory)
    if arguments.topology is not None or state.phase(arguments.name) is not state.Phase.UP:
        source = arguments.topology or lab_command.TOPOLOGY
        life.check_up(lab_command.read_topology(source, arguments.lanes), arguments.name)
    return None


def _check_arguments(words: list[str]) -> None:
    """Let pytest read its arguments without collecting a test. Raises `UsageError` with its words.

    The tests in files are not looked for: their ids name the pairs, which a lab only has later.
    """
    files = [word.partition("::")[0] for word in words]
    said = subprocess.run(
        [sys.executable, "-m", "pytest", "--collect-only", "--quiet", "--ignore-glob=*", *files],
        cwd=places.ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if said.returncode == REFUSED:
        output = said.stdout + said.stderr
        complaint = COMPLAINT.search(output)
        raise UsageError(
            f"pytest: {complaint[1] if complaint else output.strip()}",
            remedy=".venv/bin/pytest --help",
        )


def _reach(inventory: Inventory) -> None:
    """Tell of hosts that are away. Raises `TroubleError` when no pair is left to test, or when a
    host is away that every test needs: the client, or one that serves a store."""
    findings = [one for one in reach.connect(inventory) if one.verdict is Severity.REFUSED]
    away = {one.id.rpartition(".")[0] for one in findings}
    names = [{pair.source.name, pair.destination.name} for pair in inventory.pairs]
    everywhere = {*inventory.servers, *([inventory.client.name] if inventory.client else [])}
    words = "; ".join(one.words for one in findings)
    if away & everywhere or all(pair & away for pair in names):
        raise TroubleError(
            f"no pair can be tested: {words}",
            remedy=f"migqual inventory check {inventory.file}",
        )
    if findings:
        say(f"tests that need {', '.join(sorted(away))} will be inconclusive: {words}")


@contextmanager
def _swept() -> Iterator[list[Path]]:
    """Afterwards nothing that a run journaled is left on the hosts of the inventories given.

    Comes after the end of the lab: one that is gone took everything with it.
    """
    inventories: list[Path] = []
    try:
        yield inventories
    finally:
        for inventory in inventories:
            sweep.work_off(sweep.of_inventory(inventory))


@contextmanager
def _target(arguments: argparse.Namespace) -> Iterator[Target]:
    if arguments.inventory is not None:
        yield Target(arguments.inventory.absolute())
        return
    was_up = state.phase(arguments.name) is state.Phase.UP
    layout = _lab(arguments, was_up=was_up)
    with _in_use(layout) as in_use:
        try:
            yield Target(layout.inventory, layout)
        finally:
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            if not (was_up or arguments.keep or in_use()):
                life.down(arguments.name)
                say(f"lab {arguments.name}: ended, nothing of it is left")


def _lab(arguments: argparse.Namespace, *, was_up: bool) -> LabLayout:
    """The lab that is up, if it is and no other topology is asked for; else a new one."""
    if was_up and arguments.topology is None:
        say(f"lab {arguments.name} is up already; it stays")
        return state.read(arguments.name)[1]
    source = arguments.topology or lab_command.TOPOLOGY
    wanted = lab_command.read_topology(source, arguments.lanes)
    lab = life.up(wanted, arguments.name, say=say, source=source)
    say(f"lab {arguments.name} is up, acceleration {lab.acceleration}")
    return lab.layout


@contextmanager
def _in_use(layout: LabLayout) -> Iterator[Callable[[], bool]]:
    """Every run holds a shared lock on its lab; whoever holds it alone is the last one."""
    with (layout.folder / "lab.json").open() as stream:
        fcntl.flock(stream, fcntl.LOCK_SH)

        def by_another() -> bool:
            try:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                say(f"lab {layout.name} is in use by another run; it stays")
                return True
            return False

        yield by_another


def _pytest(arguments: argparse.Namespace, target: Target) -> int:
    """Run pytest in a session of its own, so that a signal reaches it once: from us."""
    command = [sys.executable, "-m", "pytest", *_options(arguments, target), *arguments.pytest]
    environment = dict(os.environ)
    if target.lab is not None:
        command = lab_command.entering(target.lab, command)
        environment = lab_command.environment(target.lab)
    process = subprocess.Popen(
        ["setpriv", "--pdeathsig", "TERM", *command],
        cwd=places.ROOT,
        env=environment,
        start_new_session=True,
    )
    try:
        return process.wait()
    except KeyboardInterrupt:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        say("stopping; guests and files on the hosts are being removed")
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(CLEAN_SECONDS)
        raise
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _options(arguments: argparse.Namespace, target: Target) -> list[str]:
    lanes = len(load_inventory(target.inventory).lanes)
    marked = SUITES_AND_ORACLES if arguments.oracles else SUITES
    options = [f"--inventory={target.inventory}", "-m", marked, f"--ignore={LIFE_OF_A_LAB}"]
    options += publish.pytest_arguments(arguments.out.absolute())
    if arguments.oracles or (arguments.smoke and target.lab is not None):
        options.append("--spread")
    if arguments.profile:
        options.append(f"--profile={arguments.profile}")
    if arguments.smoke:
        options.append("--smoke")
        if target.lab is None:
            return options
    if lanes > 1 and not arguments.serial:
        options += ["-n", str(lanes), "--dist", "loadgroup"]
    return options


def _verdict(arguments: argparse.Namespace, status: int) -> int:
    """Print what the records say. The exit code of the whole."""
    if not folder.record_files(arguments.out / folder.RECORDS):
        raise UsageError(
            f"no test was planned: pytest ended with status {status}", remedy="see above"
        )
    run_record, records = publish.publish([arguments.out], arguments.out)
    index = arguments.out / publish.INDEX
    if arguments.smoke and status in ENDED_BY_ITSELF:
        print("\n".join(smoke.lines(run_record, records, index)))
        return 0 if smoke.works(run_record, records) else 1
    lines = list(terminal.lines(run_record, records, index))
    told = lines[-2:] if arguments.oracles else lines[-3:]  # no verdict where tests were spread
    print("\n".join(told if status in ENDED_BY_ITSELF else lines))
    if status not in ENDED_BY_ITSELF:
        say(f"pytest did not end by itself: status {status}")
        return 1
    if arguments.oracles:
        say("a test did not pass" if status else "every test passed, each on one of the pairs")
        return 1 if status else 0
    return 0 if qualifies(judge(run_record, records)) else 1
