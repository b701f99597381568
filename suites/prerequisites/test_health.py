"""LM-PRE-03: only a healthy guest is sent on its way."""

from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack

import pytest

from fixtures.plugins.guests import MakeGuest
from fixtures.plugins.hosts import Pair
from migqual.deadline import Deadline
from migqual.errors import MigrationAborted
from migqual.hosts.guest import Guest
from migqual.hosts.provision import Provisioner
from migqual.model.finding import Finding, Severity
from migqual.model.guest import DiskSpec, GuestSpec
from migqual.model.inventory import StoreKind
from migqual.model.outcome import JobSample, Outcome
from migqual.model.plan import Plan
from suites.prerequisites.looking import Look

SHARED_MEMORY = "<shmem name='NAME'><model type='ivshmem-plain'/><size unit='M'>4</size></shmem>"
# the guest stops its own agent, and lets it go on; the first pause lets the answer out
STOP_AGENT = "usleep 200000; kill -STOP $0; usleep 3500000; kill -CONT $0"


@pytest.mark.requirement("LM-PRE-03")
def test_paused_guest(look: Look, standing: Guest) -> None:
    """
    A guest that is paused is not fit to be moved live.

    Preconditions: the guest is suspended.
    Expected: refused, naming its state; the agent, whom nobody can ask then, is unknown.
    """
    standing.domain.suspend()
    try:
        found = look(standing.name)
    finally:
        standing.domain.resume()

    assert found["LM-PRE-03.running"].verdict is Severity.REFUSED
    assert "paused" in found["LM-PRE-03.running"].words
    assert found["LM-PRE-03.agent"].verdict is Severity.UNKNOWN


@pytest.mark.requirement("LM-PRE-03")
def test_silent_agent(look: Look, standing: Guest) -> None:
    """
    A guest whose agent hangs is found by asking it.

    Preconditions: the agent's process is stopped.
    Expected: refused within a second or two.
    """
    standing.domain.agent(
        "guest-exec",
        path="/bin/sh",
        arg=[
            "-c",
            "exec sh -c \"$1\" $(ps | grep '[q]emu-ga' | sed 's/^ *//;s/ .*//')",
            "-",
            STOP_AGENT,
        ],
    )
    answers = "LM-PRE-03.agent"
    try:
        finding = Deadline(3).wait_for(
            "the agent to fall silent",
            lambda: (
                found
                if (found := look(standing.name)[answers]).verdict is not Severity.OK
                else None
            ),
        )
    finally:
        standing.wait_ready(Deadline(10))

    assert finding.verdict is Severity.REFUSED


@pytest.mark.requirement("LM-PRE-03")
def test_job_in_progress(
    look: Look, make_guest: MakeGuest, migrate: Callable[..., Outcome]
) -> None:
    """
    A guest that is being migrated already cannot be migrated once more.

    Preconditions: a slow migration runs.
    Expected: refused, naming the job.
    """
    guest = make_guest(GuestSpec())
    looks: list[Future[Mapping[str, Finding]]] = []

    with ThreadPoolExecutor(1) as pool:

        def look_meanwhile(_sample: JobSample) -> bool:
            if not looks:
                looks.append(pool.submit(look, guest.name))
            return looks[0].done()

        with pytest.raises(MigrationAborted):
            migrate(guest, Plan(bandwidth_mib_s=1), on_sample=look_meanwhile)

    assert looks[0].result()["LM-PRE-03.job"].verdict is Severity.REFUSED


@pytest.mark.requirement("LM-PRE-03")
def test_disk_with_errors(look: Look, pair: Pair, provision: Provisioner) -> None:
    """
    A guest whose store has failed it is told from one whose disks are well.

    Preconditions: the server of its disk ends while the guest writes.
    Expected: refused, naming the disk and the count of failed operations.
    """
    spec = GuestSpec(disks=(DiskSpec(StoreKind.NBD),))
    with provision.guest(spec, pair.source) as guest:
        server = provision.hosts[guest.volumes[0].host]
        server.shell.run("pkill", "-F", guest.volumes[0].path.with_suffix(".pid"))
        finding = Deadline(10).wait_for(
            "an error of the disk",
            lambda: found if (found := look(guest.name)["LM-PRE-03.disks"]).figures else None,
        )

    assert finding.verdict is Severity.REFUSED
    assert "failed" in str(finding.figures["vda"])


@pytest.mark.requirement("LM-PRE-03")
def test_device_that_ties_the_guest_down(look: Look, pair: Pair, provision: Provisioner) -> None:
    """
    A device that cannot move is found before the migration fails over it.

    Preconditions: the guest shares memory with its host.
    Expected: refused, naming the device.
    """
    with ExitStack() as stack:
        guest = provision.define(GuestSpec(), pair.source)
        stack.callback(provision.remove, guest)
        memory = f"/dev/shm/{guest.name}"  # noqa: S108 - where libvirt puts it, and leaves it
        undo = [("rm", "-f", "--", memory)]
        guest.made.append(provision.journal.record(pair.source.name, "file", memory, undo))
        xml = guest.domain.xml().replace("</devices>", f"{SHARED_MEMORY}</devices>")
        guest.domain.destroy()
        pair.source.libvirt.define(xml.replace("NAME", guest.name)).start()
        found = look(guest.name)

    finding = found["LM-PRE-03.devices"]
    assert finding.verdict is Severity.REFUSED
    assert "shmem" in finding.words
