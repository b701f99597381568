"""Pure: with which settings a guest could be moved."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace

from migqual.predict.curves import Dirtying
from migqual.predict.precopy import Carrier, Prediction, Wanted, foretell
from migqual.predict.throttle import Throttle

AUTO_CONVERGE, POSTCOPY, CHANNELS = "auto-converge", "postcopy-ram", "multifd"  # as QEMU says it
_STEPS = 24  # of a search by halves
_MOST_DOWNTIME_S = 60.0
_UNSLOWED_CHANNELS = 2


@dataclass(frozen=True)
class Case:
    """memory_mib: not zero; what dirties it, what carries it, what is wanted."""

    memory_mib: float
    load: Dirtying
    carrier: Carrier
    wanted: Wanted

    def foretell(self, throttle: Throttle | None = None) -> Prediction:
        return foretell(self.memory_mib, self.load, self.carrier, self.wanted, throttle)

    def limited(self, mib_s: float) -> "Case":
        return replace(self, carrier=replace(self.carrier, bandwidth_mib_s=mib_s))

    def patient(self, limit_s: float) -> "Case":
        return replace(self, wanted=replace(self.wanted, limit_s=limit_s))


@dataclass(frozen=True)
class Choice:
    """A setting, and what is foretold with it; None where no value of it helps."""

    setting: str
    option: str
    foretold: Prediction | None


def choices(case: Case, lacking: Mapping[str, str]) -> Iterator[Choice]:
    """As asked for; where that does not do, each setting that could help, alone. `lacking`:
    capabilities that QEMU has not, each with the reason."""
    asked = case.foretell()
    yield Choice("as asked", "nothing needs to be set" if asked.converges else "", asked)
    if asked.converges:
        return
    yield _searched(
        "downtime",
        case.patient,
        (case.wanted.limit_s, _MOST_DOWNTIME_S),
        lambda value: f"virsh migrate-setmaxdowntime GUEST {value * 1000:.0f}",
    )
    yield _bandwidth(case)
    for setting, capability, told in (
        ("auto-converge", AUTO_CONVERGE, _auto_converge),
        ("post-copy", POSTCOPY, _postcopy),
        ("channels", CHANNELS, _channels),
    ):
        words = lacking.get(capability)
        yield Choice(setting, words, None) if words else Choice(setting, *told(case))


def _bandwidth(case: Case) -> Choice:
    limits = (case.carrier.bandwidth_mib_s, case.carrier.resting_mib_s)
    if limits[0] >= limits[1]:
        return Choice("bandwidth", "no limit holds it back: it is the link's", None)
    return _searched("bandwidth", case.limited, limits, lambda value: f"--bandwidth {value:.0f}")


def _searched(
    name: str,
    having: Callable[[float], Case],
    between: tuple[float, float],
    option: Callable[[float], str],
) -> Choice:
    """The least value with which it converges, a little above the boundary."""
    low, high = between
    if not having(high).foretell().converges:
        return Choice(name, "no value helps", None)
    for _ in range(_STEPS):
        middle = (low + high) / 2
        if having(middle).foretell().converges:
            high = middle
        else:
            low = middle
    value = min(high * 1.1, between[1])
    if having(between[0]).foretell().converges:
        value = between[0]
    return Choice(name, option(value), having(value).foretell())


def _auto_converge(case: Case) -> tuple[str, Prediction | None]:
    throttle = Throttle()
    found = case.foretell(throttle)
    if found.converges:
        return f"--auto-converge (the throttle goes up to {throttle.percent} %)", found
    return "no throttle helps", None


def _postcopy(case: Case) -> tuple[str, Prediction]:
    """All memory once, then on the other side what was dirtied meanwhile."""
    carrier = case.carrier
    first = case.memory_mib / carrier.bandwidth_mib_s
    again = min(case.load.curve(first), case.memory_mib)
    total = carrier.setup_s + first + again / carrier.resting_mib_s + carrier.devices_s
    sent = case.memory_mib + again
    found = Prediction(
        converges=True, rounds=2, total_s=total, down_s=carrier.devices_s, sent_mib=sent
    )
    return "--postcopy --postcopy-after-precopy", found


def _channels(_case: Case) -> tuple[str, None]:
    option = f"--parallel --parallel-connections {_UNSLOWED_CHANNELS}"
    return f"{option}: where one does not fill the link", None
