"""The job sampler samples often enough: events between two samples stay invisible."""

import pytest

from migqual.errors import InconclusiveError
from migqual.model.guest_spec import GuestSpec
from migqual.model.metrics import compute_metrics
from migqual.model.plan import Plan
from migqual.model.profile import Profile
from migqual.testbed.testbed import Testbed


@pytest.mark.requirement("LM-CAP-01")
@pytest.mark.timing_sensitive
def test_job_is_sampled_often(testbed: Testbed, profile: Profile) -> None:
    """
    The statistics of a migration job are sampled many times a second, from start to end.

    Preconditions: because of the bandwidth limit, the migration takes several seconds.
    Expected: the number of samples per second reaches the minimum of the profile. Fewer samples
    miss peaks and rounds, so the test is inconclusive, not failed. The number of sent bytes
    never decreases from one sample to the next.
    """
    guest = testbed.make_guest(GuestSpec())

    outcome = testbed.migrate(guest, Plan(bandwidth_mib_s=32))

    figures = compute_metrics(outcome)
    rate_hz, slowest_reply_ms = figures["job_sample_hz"], figures["job_query_max_ms"]
    if rate_hz is None or rate_hz < profile.thresholds.job_sample_rate_min_hz:
        raise InconclusiveError(
            f"{rate_hz} job samples a second are fewer than job_sample_rate_min_hz of the profile; "
            f"the slowest reply of libvirt took {slowest_reply_ms} ms"
        )
    sent_bytes = [sample.stats.memory_processed_bytes or 0 for sample in outcome.job_samples]
    assert sent_bytes == sorted(sent_bytes)
    assert sent_bytes[-1] > sent_bytes[0]
