"""Decide between KVM and TCG for guests, and ask libvirt and QEMU which a running guest uses."""

from migqual.errors import GuestError
from migqual.hosts.domain import Domain
from migqual.inventory.entities import Acceleration, Tier

_DOMAIN_TYPES = {Acceleration.KVM: "kvm", Acceleration.TCG: "qemu"}


def decide_acceleration(setting: Acceleration, tier: Tier) -> Acceleration:
    """Decide between KVM and TCG for all guests of a run.

    The settings `kvm` and `tcg` are returned unchanged. The setting `auto` means TCG in a lab, and
    KVM on your own hosts, because emulated guests show nothing about KVM on the hosts.

    Args:
        setting: `migqual_acceleration` of the inventory.
        tier: `lab` for the hosts of a lab, `real` for your own hosts.
    """
    if setting is not Acceleration.AUTO:
        return setting
    return Acceleration.KVM if tier is Tier.REAL else Acceleration.TCG


def get_domain_type(acceleration: Acceleration) -> str:
    """Return libvirt's domain type for `KVM` or `TCG`."""
    return _DOMAIN_TYPES[acceleration]


def observe_acceleration(domain: Domain) -> Acceleration:
    """Ask libvirt and QEMU whether a running guest uses KVM (`query-kvm` of QEMU).

    Raises:
        GuestError: libvirt and QEMU contradict each other.
    """
    uses_kvm = bool(domain.run_qmp_command("query-kvm")["enabled"])
    acceleration = Acceleration.KVM if uses_kvm else Acceleration.TCG
    if (domain_type := domain.read_virt_type()) != get_domain_type(acceleration):
        raise GuestError(
            f"{domain.host}: the type of domain {domain.name} is {domain_type}, but QEMU reports "
            f"{acceleration}"
        )
    return acceleration
