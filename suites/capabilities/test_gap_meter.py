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
from migqual.preflight.tools import Tools


@pytest.mark.requirement("LM-CAP-01")
@pytest.mark.quiet
def test_gaps_are_measured_truly(
    make_guest: MakeGuest,
    observers: dict[str, Observers],
    tools: Tools,
    pair: Pair,
    profile: Profile,
    pytestconfig: pytest.Config,
) -> None:
    """
    The client sees known pauses of 50, 200 and 500 ms for what they are.

    Preconditions: the guest is suspended and resumed; QEMU's own clock says for how long, and its
    host's kernel when answers left the guest.
    Expected: the 95th percentile of the error is within the profile's limit; if not, gaps are no
    evidence, and the run is inconclusive rather than failed. The error is what the client measured
    beyond the silence that the host saw, or for how long it did not ask. No pause is missed. The
    report has beside it what is seen beyond QEMU's own times, which an emulated guest takes to wake
    up, and the longest silence that nobody caused.
    """
    guest = make_guest(GuestSpec())

    pauses = calibrate(guest, observers[guest.name].meter, tools.payload(guest.host))

    errors = [pause.error_ms for pause in pauses]
    p95_ms = percentile(errors, 0.95)
    behind = [pause.behind_qemu_ms for pause in pauses]
    told = {
        "error_p95_ms": round(p95_ms, 2),
        "behind_qemu_p95_ms": round(percentile([abs(late) for late in behind], 0.95), 2),
        "noise_ms": round(max(pause.other_ms for pause in pauses), 2),
        "errors_ms": [round(error, 2) for error in errors],
        "unasked_ms": [round(pause.unasked_ms, 2) for pause in pauses],
        "behind_qemu_ms": [round(late, 2) for late in behind],
    }
    add_environment(pytestconfig, f"gap meter {pair.id}", told)
    if p95_ms > profile.thresholds.gap_calibration_error_p95_ms:
        raise InconclusiveError(f"the gap meter is off by {p95_ms:.1f} ms: {told}")
    assert all(pause.measured_ms >= pause.injected_ms / 2 for pause in pauses), told
