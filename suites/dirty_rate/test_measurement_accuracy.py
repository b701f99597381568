"""The dirty rate measured by QEMU, compared with the actual load in the guest."""

from dataclasses import replace

import pytest

from fixtures.plugins.guests import RecordFigures
from migqual.deadline import Deadline
from migqual.errors import CommandFailed, ConnectionLost, HostError, UnsupportedError
from migqual.hosts import dirty_rate
from migqual.hosts.dirty_rate import DirtyRateMeasurement, DirtyRateMode
from migqual.hosts.domain import Domain, DomainState
from migqual.hosts.guest import Guest
from migqual.hosts.memory_region import memory_region
from migqual.model.guest_spec import GuestSpec
from migqual.model.profile import Profile
from migqual.testbed.testbed import Testbed
from suites.support.dirty_rate_comparison import (
    LOADS,
    MeasurementMethod,
    compare_all_loads,
    compare_rates,
    find_tolerance_violations,
    report_comparisons,
)
from suites.support.unsupported import raise_unsupported_if

PAGES_PER_MIB = 256
LARGE_GUEST = GuestSpec(memory_mib=512)
DIRTY_RING_GUEST = replace(LARGE_GUEST, dirty_ring_size=4096)
STATE_TIMEOUT_S = 30.0


def measure_as_documented(domain: Domain, seconds: int) -> DirtyRateMeasurement:
    return dirty_rate.measure_by_qmp(domain, seconds)


def measure_with_most_samples(domain: Domain, seconds: int) -> DirtyRateMeasurement:
    return dirty_rate.measure_by_qmp(
        domain, seconds, DirtyRateMode.SAMPLING, sample_pages=dirty_rate.MAX_SAMPLE_PAGES
    )


MEASUREMENT_METHODS = {
    "qmp": MeasurementMethod(measure_as_documented, seconds=1),
    "qmp-sampled": MeasurementMethod(
        measure_with_most_samples, seconds=1, samples_per_mib=dirty_rate.MAX_SAMPLE_PAGES / 1024
    ),
    "libvirt": MeasurementMethod(dirty_rate.measure_by_libvirt, seconds=1),
}


def make_guest_for_mode(mode: DirtyRateMode, testbed: Testbed) -> Guest:
    """Make a guest for the mode. For the mode dirty-ring, a KVM guest gets a dirty ring.

    Raises:
        UnsupportedError: libvirt or QEMU refuses the dirty ring. The error contains the message
            of libvirt or QEMU.
    """
    if mode is not DirtyRateMode.RING:
        return testbed.make_guest(LARGE_GUEST)
    with raise_unsupported_if(
        lambda error: (
            isinstance(error, HostError) and not isinstance(error, (CommandFailed, ConnectionLost))
        )
    ):
        return testbed.make_guest(DIRTY_RING_GUEST)


@pytest.mark.requirement("LM-DRT-01")
@pytest.mark.timing_sensitive(shared=True)
@pytest.mark.slow
@pytest.mark.parametrize("method_name", MEASUREMENT_METHODS)
def test_measured_dirty_rate_is_accurate(
    testbed: Testbed, profile: Profile, record_figures: RecordFigures, method_name: str
) -> None:
    """
    The dirty rate measured over a chosen time matches the actual rate of the guest.

    Preconditions: the payload in the guest dirties a working set at a known rate. The loads are:
    idle, pages in order, pages at random, mostly pages in one tenth of the set, and as fast as
    possible. One of three methods measures the rate: QMP with the defaults of QEMU, QMP with as
    many sampled pages as QEMU allows, or libvirt.
    Expected: each measured rate is within the profile's tolerance of the actual rate. The actual
    rate is from the payload's own count, with each page counted once. The measured rate of an
    idle guest is close to 0. For each load, the report has the measured rate and the actual rate.
    The report also has the mode of the measurement.
    """
    guest = testbed.make_guest(LARGE_GUEST)

    comparisons = compare_all_loads(guest, MEASUREMENT_METHODS[method_name])

    report_comparisons(record_figures, f"dirty rate measured by {method_name}", comparisons)
    assert find_tolerance_violations(comparisons, profile) == {}


@pytest.mark.requirement("LM-DRT-01")
@pytest.mark.beyond_requirement
@pytest.mark.slow
@pytest.mark.timing_sensitive(shared=True)
@pytest.mark.parametrize("mode", [DirtyRateMode.BITMAP, DirtyRateMode.RING], ids=str)
def test_libvirt_dirty_bitmap_and_dirty_ring_modes(
    testbed: Testbed, profile: Profile, record_figures: RecordFigures, mode: DirtyRateMode
) -> None:
    """
    libvirt measures the dirty rate correctly in the modes dirty-bitmap and dirty-ring.

    Preconditions: for the mode dirty-ring, the guest has a dirty ring. The loads are the same as in
    `test_measured_dirty_rate_is_accurate`.
    Expected: each measured rate is within the tolerance of the profile. Both modes need KVM: if the
    guest is emulated, the verdict is `unsupported`. If libvirt or QEMU refuses the mode or the
    dirty ring, the verdict is also `unsupported`.
    """
    guest = make_guest_for_mode(mode, testbed)
    if not dirty_rate.has_kvm_dirty_log(guest.domain):
        raise UnsupportedError(
            f"{testbed.source.name}: {mode} needs the dirty log of KVM, but the guests are emulated"
        )

    def measure_by_libvirt(domain: Domain, seconds: int) -> DirtyRateMeasurement:
        return dirty_rate.measure_by_libvirt(domain, seconds, mode)

    comparisons = compare_all_loads(
        guest, MeasurementMethod(measure_by_libvirt, seconds=1, samples_per_mib=PAGES_PER_MIB)
    )

    report_comparisons(
        record_figures, f"dirty rate measured by libvirt in mode {mode}", comparisons
    )
    assert find_tolerance_violations(comparisons, profile) == {}


def describe_mode_on_emulated_guest(guest: Guest, mode: DirtyRateMode) -> str:
    """Measure the dirty rate of an idle guest in the mode, and describe the result.

    Returns:
        A text. If the mode is refused, the text has the message of the refusal. After any other
        error, the text has the state of the guest and the error message. Without an error, the text
        has the measured rate.
    """
    try:
        measurement = dirty_rate.measure_by_qmp(guest.domain, 1, mode)
    except UnsupportedError as error:
        return f"refused: {error.message}"
    except HostError as error:
        return f"the guest is {wait_for_confirmed_state(guest)}: {error.message}"
    return f"reported {measurement.mib_s} MiB/s for an idle guest"


def wait_for_confirmed_state(guest: Guest) -> DomainState:
    """Wait until QEMU confirms the state reported by libvirt, and return the state.

    For a short time libvirt reports a guest with a dead QEMU as running.
    """

    def read_confirmed_state() -> DomainState | None:
        state = guest.query_state()
        try:
            if state is DomainState.RUNNING:
                guest.domain.run_qmp_command("query-status")
        except HostError:
            return None
        return state

    return Deadline(STATE_TIMEOUT_S).wait_for(
        "QEMU to answer, or libvirt to report that QEMU ended", read_confirmed_state
    )


@pytest.mark.requirement("LM-DRT-01")
@pytest.mark.beyond_requirement
@pytest.mark.timing_sensitive(shared=True)
@pytest.mark.parametrize(
    "mode",
    [DirtyRateMode.BITMAP, pytest.param(DirtyRateMode.RING, marks=pytest.mark.slow)],
    ids=str,
)
def test_dirty_bitmap_and_dirty_ring_modes(
    testbed: Testbed, profile: Profile, record_figures: RecordFigures, mode: DirtyRateMode
) -> None:
    """
    QMP measures the dirty rate of a KVM guest correctly in the modes dirty-bitmap and dirty-ring.

    Preconditions: QEMU's schema lists the mode. For the mode dirty-ring, a KVM guest gets a dirty
    ring; an emulated guest has no dirty ring.
    Expected: for a KVM guest, the measured rate is within the tolerance of the profile. If libvirt
    or QEMU refuses the mode or the dirty ring, the verdict is `unsupported`.
    For an emulated guest, QEMU may refuse the mode or crash, because both modes need KVM. The
    report has the result. Then the test measures a second guest on the same host in the mode
    page-sampling. The measured rate of the second guest is within the tolerance.
    """
    expendable_guest = make_guest_for_mode(mode, testbed)
    if mode not in dirty_rate.list_supported_modes(expendable_guest.domain):
        raise UnsupportedError(
            f"QEMU on {testbed.source.name} does not list the mode {mode} of calc-dirty-rate"
        )
    load = LOADS["sequential"]

    if dirty_rate.has_kvm_dirty_log(expendable_guest.domain):
        method = MeasurementMethod(
            lambda domain, seconds: dirty_rate.measure_by_qmp(domain, seconds, mode),
            1,
            PAGES_PER_MIB,
        )
        with memory_region(expendable_guest, load) as dirtied_region:
            comparison = compare_rates(dirtied_region, load, method)
        stack_behavior = (
            f"measured {comparison.measured_mib_s:.1f} MiB/s, "
            f"actual {comparison.actual_mib_s:.1f} MiB/s"
        )
    else:
        stack_behavior = describe_mode_on_emulated_guest(expendable_guest, mode)
        if expendable_guest.query_state() is not DomainState.RUNNING:
            del testbed.observers[expendable_guest.name]
        with memory_region(testbed.make_guest(LARGE_GUEST), load) as dirtied_region:
            comparison = compare_rates(dirtied_region, load, MEASUREMENT_METHODS["qmp-sampled"])

    record_figures(f"dirty rate measured by QMP in mode {mode}", {"behavior": stack_behavior})
    assert comparison.is_within_tolerance(profile), comparison
