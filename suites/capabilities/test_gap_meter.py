"""The gap meter is calibrated in every run: a gap is only as true as its meter."""

import pytest

from fixtures.plugins.guests import MakeGuest
from fixtures.plugins.hosts import Pair
from fixtures.plugins.records import add_environment
from migqual.errors import InconclusiveError
from migqual.model.guest import GuestSpec
from migqual.model.profile import Profile
from migqual.observe.calibration import calibrate, percentile
from migqual.observe.observed import Observers


@pytest.mark.requirement("LM-CAP-01")
@pytest.mark.quiet
def test_gaps_are_measured_truly(
    make_guest: MakeGuest,
    observers: dict[str, Observers],
    pair: Pair,
    profile: Profile,
    pytestconfig: pytest.Config,
) -> None:
    """
    The client sees known pauses of 50, 200 and 500 ms for what they are.

    Preconditions: the guest is suspended and resumed; QEMU's own clock says for how long.
    Expected: the 95th percentile of measured minus injected is within the profile's limit; if not,
    gaps are no evidence, and the run is inconclusive rather than failed. The report has the error
    and, beside it, the longest silence that nobody caused.
    """
    guest = make_guest(GuestSpec())

    pauses = calibrate(guest, observers[guest.name].meter)

    errors = [pause.error_ms for pause in pauses]
    p95_ms = percentile([abs(error) for error in errors], 0.95)
    noise_ms = max(pause.other_ms for pause in pauses)
    told = {
        "error_p95_ms": round(p95_ms, 2),
        "noise_ms": round(noise_ms, 2),
        "errors_ms": [round(error, 2) for error in errors],
    }
    add_environment(pytestconfig, f"gap meter {pair.id}", told)
    if p95_ms > profile.thresholds.gap_calibration_error_p95_ms:
        raise InconclusiveError(f"the gap meter is off by {p95_ms:.1f} ms: {told}")
    assert all(pause.measured_ms >= pause.injected_ms / 2 for pause in pauses)
