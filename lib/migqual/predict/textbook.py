"""Pure: pre-copy in whole rounds, as it is told in textbooks.

All of memory is sent, then again and again what the guest dirtied meanwhile, until the rest fits
into the downtime limit. With M to send first, U(t) the unique memory that the guest dirties in a
time t, B the bandwidth, D the limit and s what a round costs beside its bytes:

    V0 = M;  Ti = Vi/B + s;  Vi+1 = U(Ti);  the guest rests at the first Vi <= B*D
    total = setup + sum(Ti) + down;  down = Vn/B + devices

A dirty rate above the bandwidth does not by itself mean failure: a small working set saturates.
It is what precopy.py is measured against.
"""

from migqual.predict.curves import Dirtying
from migqual.predict.precopy import Carrier, Prediction, Wanted

_ROUNDS = 500
_STANDSTILL = 1e-6  # of the volume; rounds that shrink by less have met their fixed point


def rounds(memory_mib: float, dirtying: Dirtying, carrier: Carrier, wanted: Wanted) -> Prediction:
    """What pre-copy would do with `memory_mib` that are not zero; `look_s` is a round's cost."""
    volume, sent, spent = memory_mib, 0.0, carrier.setup_s
    fits = carrier.bandwidth_mib_s * wanted.limit_s
    done = 0
    while volume > fits and done < _ROUNDS and spent <= wanted.deadline_s:
        took = volume / carrier.bandwidth_mib_s + carrier.look_s
        sent, spent, left = sent + volume, spent + took, dirtying.curve(took)
        if left > fits and done and left >= volume * (1.0 - _STANDSTILL):
            break
        volume, done = left, done + 1
    down = volume / carrier.bandwidth_mib_s + carrier.devices_s
    over = volume <= fits and spent + down <= wanted.deadline_s
    return Prediction(over, done, spent + down, down, sent + volume)
