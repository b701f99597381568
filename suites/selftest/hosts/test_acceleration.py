"""The decision between KVM and TCG, a pure function of the inventory."""

import pytest

from migqual.hosts.acceleration import decide_acceleration
from migqual.inventory.entities import Acceleration, Tier

pytestmark = pytest.mark.selftest


@pytest.mark.parametrize("tier", list(Tier), ids=str)
@pytest.mark.parametrize("setting", [Acceleration.KVM, Acceleration.TCG], ids=str)
def test_named_acceleration_is_used(setting: Acceleration, tier: Tier) -> None:
    assert decide_acceleration(setting, tier) is setting


def test_own_hosts_use_kvm_unless_tcg_is_named() -> None:
    """With `auto`, real hosts use KVM and lab hosts use TCG.

    Emulated guests would show nothing about the KVM of the real hosts.
    """
    assert decide_acceleration(Acceleration.AUTO, Tier.REAL) is Acceleration.KVM
    assert decide_acceleration(Acceleration.AUTO, Tier.LAB) is Acceleration.TCG
