"""Auto-converge step by step: by hand."""

import pytest

from migqual.predict.curves import Dirtying, cyclic
from migqual.predict.precopy import Carrier, Wanted, foretell
from migqual.predict.throttle import STEPS_PERCENT, Throttle

pytestmark = pytest.mark.selftest

CARRIER = Carrier(bandwidth_mib_s=100.0, resting_mib_s=100.0, setup_s=1.0)
WANTED = Wanted(limit_s=0.3, deadline_s=600.0)


def test_a_step_takes_two_looks() -> None:
    """Dirtied as much as was sent, a look every two seconds: 20 % after the second, then the rest
    one after the other, and there it stays."""
    throttle = Throttle()
    seen = []

    for look in range(1, 21):
        throttle.looked(100.0, 100.0 * look, 2.0 * look)
        seen.append(throttle.percent)

    assert seen[:4] == [0, 20, 20, 30]
    assert seen[1::2] == [*STEPS_PERCENT, STEPS_PERCENT[-1]]


def test_half_of_what_is_sent_is_no_reason() -> None:
    throttle = Throttle()

    for look in range(1, 21):
        throttle.looked(50.0, 100.0 * look, 2.0 * look)

    assert throttle.percent == 0


def test_looks_within_a_second_count_as_one() -> None:
    """Three in 1.2 s: what was dirtied is added up, and one reason was seen."""
    throttle = Throttle()

    for look in range(1, 4):
        throttle.looked(30.0, 50.0 * look, 0.4 * look)
    assert throttle.percent == 0

    throttle.looked(30.0, 200.0, 3.0)
    assert throttle.percent == 20


def test_guest_is_slowed_down_only_after_it_was_seen_to_be_fast() -> None:
    """1000 MiB at 100 MiB/s, all of it dirtied anew in each pass of 10 s. Two passes for each step;
    from 40 % on they shrink, and the steps go on to 70 %, where less than half is dirtied of what
    is sent: 60 s, then 10 + 9, 8.1 + 6.1, 4.6 + 2.7, 1.6 + 0.7 + 0.3."""
    load = Dirtying(cyclic(150.0, 1000.0), 1000.0)
    throttle = Throttle()

    found = foretell(1000.0, load, CARRIER, WANTED, throttle)
    at_once = foretell(1000.0, load.slowed(throttle.share), CARRIER, WANTED)

    assert found.converges
    assert throttle.percent == 70
    assert found.total_s == pytest.approx(1.0 + 103.0, abs=3.0)
    assert at_once.total_s < 25.0


def test_without_a_throttle_the_same_load_never_fits() -> None:
    load = Dirtying(cyclic(150.0, 1000.0), 1000.0)

    assert not foretell(1000.0, load, CARRIER, WANTED).converges
