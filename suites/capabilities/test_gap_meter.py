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

    Preconditions: the guest is suspended and resumed. QEMU's clock gives the length of each
    pause. The kernel of the guest's host records when replies leave the guest.
    Expected: no pause is missed. For each pause, the client and the host's kernel measure the time
    without a reply of the guest. The error is the difference of these two times. If the client
    sent a probe too late, and the delay is longer than the difference, the error is the delay. The
    95th percentile of the errors is within the limit of the profile. If the percentile is above
    the limit, the gaps of the run are no evidence, and the test is inconclusive, not failed. The
    report also shows the client's time minus QEMU's pause (an emulated guest takes time to wake
    up), and the longest time without a reply that no pause caused.
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
            "profile allows. The reference is the kernel of the guest's host, which recorded the "
            f"replies. Run the test again when the machine is idle. Figures: {figures}"
        )
    assert all(pause.measured_ms >= pause.injected_ms / 2 for pause in pauses), figures
