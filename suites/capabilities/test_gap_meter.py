"""The gap meter is calibrated in every run: measured gaps depend on an accurate meter."""

import pytest

from fixtures.plugins.guests import RecordFigures
from migqual.errors import InconclusiveError
from migqual.model.guest_spec import GuestSpec
from migqual.model.percentile import compute_percentile
from migqual.model.profile import Profile
from migqual.observe.gap_meter_calibration import calibrate_gap_meter
from migqual.testbed.testbed import Testbed


@pytest.mark.requirement("LM-CAP-01")
@pytest.mark.timing_sensitive
def test_gap_meter_measures_known_pauses(
    testbed: Testbed, profile: Profile, record_figures: RecordFigures
) -> None:
    """
    The gap meter on the client measures known pauses of 50, 200 and 500 ms correctly.

    Preconditions: QEMU suspends and resumes the guest. A suspended guest does not reply. For each
    pause, the client and the kernel of the guest's host measure the time without a reply.
    Expected: no pause is missed. The error is the difference between the times of the client and
    of the kernel. If the client sent a probe too late, the error is at least the delay of the
    probe. The 95th percentile of the errors is within the limit of the profile. Otherwise the gaps
    of the run are not reliable, and the test is inconclusive, not failed. The report shows two
    more figures: the client's time minus the length of QEMU's pause (an emulated guest takes time
    to wake up), and the longest time without a reply that no pause caused.
    """
    guest = testbed.make_guest(GuestSpec())

    pauses = calibrate_gap_meter(
        guest,
        testbed.observers[guest.name].meter,
        testbed.probe_context.get_payload_path(guest.host),
    )

    errors = [pause.error_ms for pause in pauses]
    error_p95_ms = compute_percentile(errors, 0.95)
    delays_ms = [pause.excess_over_qemu_ms for pause in pauses]
    figures = {
        "error_p95_ms": round(error_p95_ms, 2),
        "behind_qemu_p95_ms": round(
            compute_percentile([abs(delay_ms) for delay_ms in delays_ms], 0.95), 2
        ),
        "noise_ms": round(max(pause.noise_ms for pause in pauses), 2),
        "errors_ms": [round(error, 2) for error in errors],
        "unprobed_ms": [round(pause.probe_delay_ms, 2) for pause in pauses],
        "behind_qemu_ms": [round(delay_ms, 2) for delay_ms in delays_ms],
    }
    record_figures("gap meter", figures)
    if error_p95_ms > profile.thresholds.gap_calibration_error_p95_ms:
        raise InconclusiveError(
            f"the gap meter's error is {error_p95_ms:.1f} ms (95th percentile), more than the "
            f"profile allows. Run the test again when the machine is idle. Figures: {figures}"
        )
    assert all(pause.measured_ms >= pause.injected_ms / 2 for pause in pauses), figures
