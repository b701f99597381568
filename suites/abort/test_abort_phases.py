"""LM-RES-03: an operator aborts a migration."""

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager

import pytest

from fixtures.plugins.encryption import Encryption
from fixtures.plugins.guests import RecordFigures
from fixtures.plugins.operator_commands import RecordCommands
from fixtures.plugins.stack_messages import RecordStackMessage
from migqual.errors import StackError
from migqual.hosts.domain import Domain
from migqual.hosts.domain_job import abort_job
from migqual.model.guest_spec import GuestSpec
from migqual.model.migration_phase import MigrationPhase
from migqual.model.plan import Plan
from migqual.model.record import CommandAnswer
from migqual.testbed.held_migration import hold_migration
from migqual.testbed.testbed import Testbed, raise_violations
from suites.support import fault_cases
from suites.support.fault_cases import FaultCase, build_case_parameters, require_guest_at_source
from suites.support.operator_commands import run_virsh_commands
from suites.support.postcopy import require_postcopy

CASES = (
    fault_cases.SETUP,
    fault_cases.FIRST_ITERATION,
    fault_cases.DISK_COPY,
)
SLOW_CASES = (
    fault_cases.LATER_ITERATION,
    fault_cases.COPIED_DISKS,
    fault_cases.DIRECT,
    fault_cases.CHANNELS,
)
POSTCOPY_PLAN = Plan(postcopy=True)
MANY_CHANNELS = Plan(channels=16)


@pytest.mark.requirement("LM-RES-03")
@pytest.mark.parametrize("case", build_case_parameters(CASES, SLOW_CASES), ids=str)
def test_aborted_migration_leaves_the_guest_at_the_source(
    case: FaultCase,
    testbed: Testbed,
    record_figures: RecordFigures,
    record_stack_message: RecordStackMessage,
) -> None:
    """
    A guest continues at the source after an abort of its migration, in every phase of pre-copy.

    Preconditions: the migration is in the phase of the case.
    Expected: libvirt accepts the abort, and the migration ends with an error. The guest runs at
    the source with its memory and disks intact, and nothing is left at the destination. The next
    migration succeeds. It has 16 channels, except for a case that copies disks.
    """
    abort_in_phase(case, testbed, record_figures, record_stack_message)


@pytest.mark.requirement("LM-RES-03")
@pytest.mark.slow
def test_aborted_encrypted_migration_leaves_the_guest_at_the_source(
    encryption: Encryption,  # noqa: ARG001 - both hosts hold certificates
    testbed: Testbed,
    record_figures: RecordFigures,
    record_stack_message: RecordStackMessage,
) -> None:
    """
    A guest continues at the source after an abort of its encrypted migration.

    Preconditions: the migration uses TLS, and is in the first iteration over guest memory.
    Expected: libvirt accepts the abort, and the migration ends with an error. The guest runs at
    the source with its memory intact, and nothing is left at the destination. The next migration
    succeeds. It has 16 channels, and no TLS.
    """
    abort_in_phase(fault_cases.ENCRYPTED, testbed, record_figures, record_stack_message)


def abort_in_phase(
    case: FaultCase,
    testbed: Testbed,
    record_figures: RecordFigures,
    record_stack_message: RecordStackMessage,
) -> None:
    """Abort the migration in the phase of the case, check the guest, and migrate the guest."""
    guest = case.make_guest(testbed)

    with hold_migration(testbed, guest, case.plan, case.phase) as held:
        held.inject_once("abort", lambda: abort_job(guest.domain))
        held.release()
        migration = held.wait_for_end()

    record_figures(f"abort {case}", {"error": migration.outcome.message})
    require_guest_at_source(testbed, guest, migration)
    record_stack_message("aborted", migration.outcome.message)

    testbed.migrate(guest, case.plan if case.spec.disks else MANY_CHANNELS)


@pytest.mark.requirement("LM-RES-03")
def test_abort_during_the_switch_over_leaves_one_copy(
    testbed: Testbed, record_figures: RecordFigures
) -> None:
    """
    A guest is on exactly one host after an abort during the switch-over.

    Preconditions: the guest is stopped at the source, and QEMU at the destination is frozen. An
    operator aborts the job. libvirt can answer only after QEMU at the destination continues.
    Expected: the migration fails and the guest continues at the source, or the abort was too late
    and the guest arrives. In both cases memory and TCP session are intact, and the other host has
    no copy.
    """
    guest = testbed.make_guest(GuestSpec())

    with hold_migration(testbed, guest, Plan(), MigrationPhase.SWITCH_OVER) as held:
        with held.inject("abort", request_abort(guest.domain)) as answer:
            held.release()
            held.wait_for_job_end()
        migration = held.wait_for_end()

    record_figures(
        "abort during the switch-over",
        {"answer": answer.result(), "error": migration.outcome.message, "host": guest.host.name},
    )
    raise_violations(migration.violations)
    testbed.migrate(guest, MANY_CHANNELS)


@contextmanager
def request_abort(domain: Domain) -> Iterator[Future[str]]:
    """Request an abort of the job in a separate thread, and run the block meanwhile.

    At the end of the block, the function waits until libvirt has answered the request.

    Yields:
        A future. Its result is the error message of libvirt, or `accepted`.
    """

    def abort() -> str:
        try:
            abort_job(domain)
        except StackError as error:
            return error.stack_message
        return "accepted"

    with ThreadPoolExecutor(1) as executor:
        yield executor.submit(abort)


@pytest.mark.requirement("LM-RES-03")
@pytest.mark.beyond_requirement
def test_abort_in_postcopy_is_refused(testbed: Testbed, record_commands: RecordCommands) -> None:
    """
    libvirt refuses to abort a migration in post-copy, because neither host has the whole guest.

    Preconditions: the guest runs at the destination, and a part of its memory is still at the
    source. An operator aborts the job at the source.
    Expected: libvirt refuses the command. Then the migration completes, and the guest is intact.
    """
    guest = testbed.make_guest(GuestSpec())

    with (
        require_postcopy(),
        hold_migration(testbed, guest, POSTCOPY_PLAN, MigrationPhase.POSTCOPY) as held,
    ):
        commands = run_virsh_commands(
            testbed.probe_context.journal,
            held.source,
            guest.name,
            "source",
            {"domjobabort": ("domjobabort", guest.name)},
        )
        phase = held.query_phase()
        held.release()
        migration = held.wait_for_end()

    record_commands(commands)
    raise_violations(migration.violations)
    assert phase is MigrationPhase.POSTCOPY
    assert [record.answer for record in commands] == [CommandAnswer.REFUSED]
    assert migration.error is None
    assert guest.host is testbed.destination
