"""Search settings with which a migration converges. No side effects."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace

from migqual.predict.dirty_curve import DirtyModel
from migqual.predict.precopy import (
    MigrationLimits,
    Prediction,
    Throttle,
    TransferModel,
    simulate_precopy,
)

# names of QEMU's migration capabilities
AUTO_CONVERGE, POSTCOPY, MULTIFD = "auto-converge", "postcopy-ram", "multifd"
_BISECTION_STEPS = 24  # steps of the binary search
_MAX_DOWNTIME_S = 60.0
_RECOMMENDED_CHANNELS = 2


@dataclass(frozen=True)
class MigrationScenario:
    """The inputs for the simulation of a migration.

    Attributes:
        memory_to_send_mib: Memory in non-zero pages, in MiB.
        dirty_model: How the guest dirties memory.
        transfer_model: Speeds and constant durations of the migration, for example the setup time.
        limits: The downtime limit and the deadline of the migration.
    """

    memory_to_send_mib: float
    dirty_model: DirtyModel
    transfer_model: TransferModel
    limits: MigrationLimits

    def simulate(self, throttle: Throttle | None = None) -> Prediction:
        """Simulate a pre-copy migration, with auto-converge if `throttle` is given."""
        return simulate_precopy(
            self.memory_to_send_mib, self.dirty_model, self.transfer_model, self.limits, throttle
        )

    def replace_bandwidth(self, bandwidth_mib_s: float) -> "MigrationScenario":
        """Return a copy of the scenario with another bandwidth limit, in MiB/s."""
        return replace(
            self, transfer_model=replace(self.transfer_model, bandwidth_mib_s=bandwidth_mib_s)
        )

    def replace_downtime_limit(self, downtime_limit_s: float) -> "MigrationScenario":
        """Return a copy of the scenario with another downtime limit, in s."""
        return replace(self, limits=replace(self.limits, downtime_limit_s=downtime_limit_s))


@dataclass(frozen=True)
class SettingChoice:
    """A setting and the prediction with the setting.

    Attributes:
        setting: Name of the setting.
        option: `virsh` command or option for the setting, or the reason why the setting does not
            help.
        prediction: Prediction with the setting. None means that the setting does not help, or that
            migqual cannot predict the effect.
    """

    setting: str
    option: str
    prediction: Prediction | None


def list_setting_choices(
    scenario: MigrationScenario, missing_capabilities: Mapping[str, str]
) -> Iterator[SettingChoice]:
    """List settings with which the requested migration may converge.

    The first choice is the requested migration without a change. If this migration does not
    converge, a choice follows for each setting, with only this setting changed.

    Args:
        scenario: The requested migration.
        missing_capabilities: Reason why QEMU does not offer a capability, by name of the
            capability.

    Yields:
        The choices.
    """
    prediction = scenario.simulate()
    yield SettingChoice(
        "as requested", "no setting needs to change" if prediction.converges else "", prediction
    )
    if prediction.converges:
        return
    yield _search_lowest_value(
        "downtime",
        scenario.replace_downtime_limit,
        (scenario.limits.downtime_limit_s, _MAX_DOWNTIME_S),
        lambda value: f"virsh migrate-setmaxdowntime GUEST {value * 1000:.0f}",
    )
    yield _evaluate_bandwidth(scenario)
    for setting, capability, evaluate in (
        ("auto-converge", AUTO_CONVERGE, _evaluate_auto_converge),
        ("post-copy", POSTCOPY, _evaluate_postcopy),
        ("channels", MULTIFD, _evaluate_channels),
    ):
        reason = missing_capabilities.get(capability)
        yield (
            SettingChoice(setting, reason, None)
            if reason
            else SettingChoice(setting, *evaluate(scenario))
        )


def _evaluate_bandwidth(scenario: MigrationScenario) -> SettingChoice:
    bandwidth_range = (
        scenario.transfer_model.bandwidth_mib_s,
        scenario.transfer_model.paused_bandwidth_mib_s,
    )
    if bandwidth_range[0] >= bandwidth_range[1]:
        return SettingChoice(
            "bandwidth", "no effect: the link is not faster than the bandwidth limit", None
        )
    return _search_lowest_value(
        "bandwidth",
        scenario.replace_bandwidth,
        bandwidth_range,
        lambda value: f"--bandwidth {value:.0f}",
    )


def _search_lowest_value(
    setting: str,
    replace_value: Callable[[float], MigrationScenario],
    value_range: tuple[float, float],
    format_option: Callable[[float], str],
) -> SettingChoice:
    """Search the lowest value of a setting with which the migration converges, and add 10 %."""
    low, high = value_range
    if not replace_value(high).simulate().converges:
        return SettingChoice(setting, "no value makes the migration converge", None)
    for _ in range(_BISECTION_STEPS):
        middle = (low + high) / 2
        if replace_value(middle).simulate().converges:
            high = middle
        else:
            low = middle
    value = min(high * 1.1, value_range[1])
    if replace_value(value_range[0]).simulate().converges:
        value = value_range[0]
    return SettingChoice(setting, format_option(value), replace_value(value).simulate())


def _evaluate_auto_converge(scenario: MigrationScenario) -> tuple[str, Prediction | None]:
    throttle = Throttle()
    prediction = scenario.simulate(throttle)
    if prediction.converges:
        return (
            f"--auto-converge (takes up to {throttle.percent} % of the guest's CPU time)",
            prediction,
        )
    return "the migration does not converge with the highest throttle", None


def _evaluate_postcopy(scenario: MigrationScenario) -> tuple[str, Prediction]:
    """Predict a post-copy migration; return the `virsh` options and the prediction.

    QEMU sends all memory once, while the guest runs at the source. Then the guest runs at the
    destination, and QEMU sends the pages again that the guest dirtied at the source.
    """
    transfer_model = scenario.transfer_model
    first_pass_s = scenario.memory_to_send_mib / transfer_model.bandwidth_mib_s
    redirtied_mib = min(scenario.dirty_model.curve(first_pass_s), scenario.memory_to_send_mib)
    total_s = (
        transfer_model.setup_s
        + first_pass_s
        + redirtied_mib / transfer_model.paused_bandwidth_mib_s
        + transfer_model.device_state_s
    )
    sent_mib = scenario.memory_to_send_mib + redirtied_mib
    prediction = Prediction(
        converges=True,
        rounds=2,
        total_s=total_s,
        downtime_s=transfer_model.device_state_s,
        sent_mib=sent_mib,
    )
    return "--postcopy --postcopy-after-precopy", prediction


def _evaluate_channels(_scenario: MigrationScenario) -> tuple[str, None]:
    option = f"--parallel --parallel-connections {_RECOMMENDED_CHANNELS}"
    return f"{option}: helps if one connection does not use the full speed of the link", None
