"""Collect the link speed and the limits for a prediction, from the user or from the hosts."""

from collections.abc import Mapping
from dataclasses import dataclass

from migqual.errors import HostError
from migqual.hosts import network_link, qemu_probe
from migqual.hosts.domain import Domain
from migqual.hosts.host import Host
from migqual.predict.precopy import MigrationLimits, TransferModel
from migqual.predict.setting_choices import AUTO_CONVERGE, MULTIFD, POSTCOPY

GIGABIT_MIB_S = 112.0
DEFAULT_SETUP_S = 0.5
DEFAULT_DEVICE_STATE_S = 0.03
DEFAULT_DEADLINE_S = 3600.0
_MIB_S_PER_MBIT_S = 0.112  # of the speed of the interface, without the protocol headers
_UNLIMITED_MIB_S = 2**40  # without a limit, libvirt reports a number higher than any link speed


@dataclass(frozen=True)
class SourcedValue:
    """A value and the origin of the value.

    Attributes:
        value: The number. None means that no limit exists.
        origin: Option or command that gave the value, or the reason for an assumed value.
    """

    value: float | None
    origin: str


@dataclass(frozen=True)
class UserOverrides:
    """The values given by the user. migqual queries the hosts for a value that is None.

    Attributes:
        link_mib_s: Link speed in MiB/s.
        bandwidth_mib_s: Bandwidth limit in MiB/s.
        downtime_ms: Downtime limit in ms.
    """

    link_mib_s: float | None = None
    bandwidth_mib_s: float | None = None
    downtime_ms: float | None = None


@dataclass(frozen=True)
class PredictionInputs:
    """The link speed, bandwidth limit and downtime limit of a prediction, with their origins."""

    link_mib_s: SourcedValue
    bandwidth_mib_s: SourcedValue
    downtime_ms: SourcedValue

    @property
    def transfer_model(self) -> TransferModel:
        """Return the speeds and constant durations of the migration.

        If the link speed is not known, the model assumes a gigabit link. While the guest is paused,
        no bandwidth limit applies. The constant durations are the setup time and the time for the
        device state. Both are assumed, not measured.
        """
        link_mib_s = self.link_mib_s.value or GIGABIT_MIB_S
        bandwidth_mib_s = min(link_mib_s, self.bandwidth_mib_s.value or link_mib_s)
        return TransferModel(
            bandwidth_mib_s, link_mib_s, DEFAULT_SETUP_S, device_state_s=DEFAULT_DEVICE_STATE_S
        )

    @property
    def limits(self) -> MigrationLimits:
        """Return the limits of the migration: the downtime limit, and a deadline of one hour."""
        return MigrationLimits((self.downtime_ms.value or 0.0) / 1000, DEFAULT_DEADLINE_S)


def collect_prediction_inputs(
    overrides: UserOverrides, source: Host, destination: Host, domain: Domain
) -> PredictionInputs:
    """Collect the link speed, the bandwidth limit and the downtime limit for a prediction.

    The function uses the values given by the user. A missing link speed comes from the network
    interface of the source. Missing limits come from libvirt. The function does not modify the
    guest.
    """
    return PredictionInputs(
        _determine_link_speed(overrides.link_mib_s, source, destination),
        _determine_bandwidth_limit(overrides.bandwidth_mib_s, domain),
        _determine_downtime_limit(overrides.downtime_ms, domain),
    )


def _determine_link_speed(override: float | None, source: Host, destination: Host) -> SourcedValue:
    if override is not None:
        return SourcedValue(override, "--link")
    interface = network_link.find_migration_interface(source, destination)
    return estimate_link_speed(
        f"{source.name}'s {interface}", network_link.read_speed_mbit_s(source, interface)
    )


def estimate_link_speed(interface_label: str, mbit_s: int | None) -> SourcedValue:
    """Estimate the link speed from the speed reported by a network interface.

    The speed of the interface is an upper limit for the speed of a migration.

    Args:
        interface_label: Names of the host and the interface, for example ``a1's eth0``. The label
            is part of the origin in the result.
        mbit_s: Speed of the interface in Mbit/s. None means that the interface reports no speed.

    Returns:
        The link speed in MiB/s, and the origin (the text that states where the link speed comes
        from). If `mbit_s` is None, the function assumes 1 Gbit/s, which is 112 MiB/s.
    """
    if mbit_s is None:
        return SourcedValue(
            GIGABIT_MIB_S,
            f"1 Gbit/s is assumed, because {interface_label} reports no speed: set --link",
        )
    return SourcedValue(
        mbit_s * _MIB_S_PER_MBIT_S,
        f"upper limit, because {interface_label} has a speed of {mbit_s} Mbit/s",
    )


def _determine_bandwidth_limit(override: float | None, domain: Domain) -> SourcedValue:
    if override is not None:
        return SourcedValue(override, "--bandwidth")
    bandwidth_mib_s = domain.query_bandwidth_mib_s()
    return SourcedValue(
        bandwidth_mib_s if 0 < bandwidth_mib_s < _UNLIMITED_MIB_S else None,
        "virsh migrate-getspeed",
    )


def _determine_downtime_limit(override: float | None, domain: Domain) -> SourcedValue:
    if override is not None:
        return SourcedValue(override, "--downtime")
    return SourcedValue(domain.query_max_downtime_ms(), "virsh migrate-getmaxdowntime")


def list_missing_capabilities(source: Host, destination: Host) -> Mapping[str, str]:
    """List the capabilities for auto-converge, post-copy and multifd that QEMU does not offer.

    The function starts a QEMU without a guest on each host, and queries its capabilities. If QEMU
    does not answer, all capabilities count as missing. Only the source needs auto-converge.

    Returns:
        The reason why a capability is missing, by name of the capability.
    """
    reasons: dict[str, str] = {}
    for host, capabilities in (
        (source, (AUTO_CONVERGE, POSTCOPY, MULTIFD)),
        (destination, (POSTCOPY, MULTIFD)),
    ):
        try:
            support = qemu_probe.query_migration_features(host)
        except HostError as error:
            reasons |= dict.fromkeys(
                capabilities, f"{host.name}: cannot query the capabilities of QEMU: {error}"
            )
            continue
        prefix = f"{host.name}: {support.version} has no migration capability"
        reasons |= {
            capability: f"{prefix} {capability}"
            for capability in capabilities
            if capability not in support.capabilities
        }
    return reasons
