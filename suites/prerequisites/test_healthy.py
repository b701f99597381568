"""Where nothing is wrong, preflight has nothing to say against the move."""

import pytest

from migqual.hosts.guest import Guest
from migqual.model.finding import Severity
from suites.prerequisites.looking import Look


@pytest.mark.requirement("LM-PRE-01", "LM-PRE-02", "LM-PRE-03", "LM-PRE-04", "LM-PRE-05")
def test_every_check_is_silent_on_a_healthy_pair(look: Look, standing: Guest) -> None:
    """
    Both hosts reach each other, their stores and their networks, and the guest is well.

    Preconditions: a running guest with a disk on each shared store.
    Expected: every check of the prerequisites could be made, and none objects.
    """
    found = look(standing.name)

    wrong = {
        name: finding.words
        for name, finding in found.items()
        if name.startswith("LM-PRE") and finding.verdict is not Severity.OK
    }
    assert not wrong
