"""The job sampler keeps its rhythm: what happens between two samples, nobody sees."""

from collections.abc import Callable

import pytest

from fixtures.plugins.guests import MakeGuest
from migqual.errors import InconclusiveError
from migqual.model.guest import GuestSpec
from migqual.model.metrics import metrics
from migqual.model.outcome import Outcome
from migqual.model.plan import Plan
from migqual.model.profile import Profile

Migrate = Callable[..., Outcome]


@pytest.mark.requirement("LM-CAP-01")
@pytest.mark.quiet
def test_job_is_sampled_often(make_guest: MakeGuest, migrate: Migrate, profile: Profile) -> None:
    """
    The job of a migration is asked for its figures many times a second, from start to end.

    Preconditions: a bandwidth at which the guest takes seconds to move.
    Expected: at least as many samples a second as the profile demands; fewer, and peaks and rounds
    are missed, so that the run is inconclusive rather than failed. Bytes only ever grow.
    """
    guest = make_guest(GuestSpec())

    outcome = migrate(guest, Plan(bandwidth_mib_s=32))

    figures = metrics(outcome)
    rate_hz, slowest_ms = figures["job_sample_hz"], figures["job_answer_max_ms"]
    if rate_hz is None or rate_hz < profile.thresholds.job_sample_rate_min_hz:
        raise InconclusiveError(
            f"{rate_hz} samples a second of the job; the slowest answer took {slowest_ms} ms"
        )
    sent = [int(sample.stats.get("memory_processed", 0)) for sample in outcome.samples]
    assert sent == sorted(sent)
    assert sent[-1] > sent[0]
