"""Different user ids or group ids of QEMU on the two hosts are a warning."""

import pytest

from migqual.model.finding import Severity
from migqual.readiness.qemu_user_check import compare_qemu_users

pytestmark = pytest.mark.selftest


@pytest.mark.parametrize(
    ("source_label", "destination_label", "severity"),
    [
        ("+64055:+107", "+64055:+107", Severity.OK),
        ("+64055:+106", "+64055:+107", Severity.WARNING),
        ("+0:+0", "+107:+107", Severity.WARNING),
        ("", "", Severity.OK),
        ("+0:+0", "", Severity.WARNING),
    ],
)
def test_labels_of_two_hosts(source_label: str, destination_label: str, severity: Severity) -> None:
    finding = compare_qemu_users(("h1", "h2"), source_label, destination_label)

    assert (finding.id, finding.severity) == ("h1-h2.qemu-user", severity)
    assert bool(finding.remedy) is (severity is not Severity.OK)
