"""What Allure is told."""

import json
from pathlib import Path
from typing import Any

import pytest

from suites.selftest.inner_session import Session, run_inner

pytestmark = pytest.mark.selftest

SUITE = '''
from fixtures.plugins.stash import EVIDENCE, MIGRATIONS
from migqual.errors import GuestError, MigrationFailed, UnsupportedError
from migqual.model.record import MigrationRecord, PairName

PAIRS = [PairName("a1", "b1"), PairName("a2", "b2")]
pytestmark = [
    pytest.mark.requirement("LM-CAP-01", "LM-CAP-02"),
    pytest.mark.parametrize("pair", PAIRS, ids=lambda p: p.id),
]

class Volatile: pass

@pytest.fixture
def observer(request):
    yield
    request.node.stash[EVIDENCE].append(("job samples", "t,x\\n", "text/csv"))

@pytest.mark.parametrize("disk", [Volatile()])
def test_passes(pair, disk, observer, request):
    """A guest moves.

    Expected: it runs on.
    """
    request.node.stash[MIGRATIONS].append(MigrationRecord({"tls": True}, "virsh migrate g1"))

def test_failed(pair): raise MigrationFailed("stack's words")
def test_trouble(pair): raise GuestError("no agent")
def test_lacks(pair): raise UnsupportedError("no zstd")
'''


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Session:
    return run_inner(tmp_path_factory.mktemp("allure"), SUITE)


def one(session: Session, name: str, pair: str = "a1-b1") -> Any:  # noqa: ANN401 - JSON
    (found,) = (
        result
        for result in session.allure()
        if result["fullName"].endswith(f"#test_{name}")
        and {"name": "pair", "value": pair} in result["parameters"]
    )
    return found


def attachment(session: Session, entry: Any) -> str:  # noqa: ANN401 - JSON
    file: Path = session.out / "allure-results" / entry["source"]
    return file.read_text()


def test_chapter_requirement_and_words_are_there(session: Session) -> None:
    """Epic, stories, title, description."""
    result = one(session, "passes")
    labels = {(label["name"], label["value"]) for label in result["labels"]}
    assert {value for name, value in labels if name == "epic"} == {"Capabilities"}
    stories = sorted(value for name, value in labels if name == "story")
    assert [story[:10] for story in stories] == ["LM-CAP-01 ", "LM-CAP-02 "]
    assert result["name"] == "A guest moves."
    assert result["description"] == "Expected: it runs on."


@pytest.mark.parametrize(
    ("name", "status"),
    [("passes", "passed"), ("failed", "failed"), ("trouble", "broken"), ("lacks", "skipped")],
)
def test_a_hosts_fault_is_told_from_a_broken_lab(session: Session, name: str, status: str) -> None:
    """The status is the verdict's, not that of the exception's class."""
    assert one(session, name)["status"] == status


def test_pairs_are_no_retries_of_each_other(session: Session) -> None:
    """Allure merges equal histories."""
    both = {one(session, "passes", pair)["historyId"] for pair in ("a1-b1", "a2-b2")}
    assert len(both) == 2


def test_history_survives_from_run_to_run(session: Session, tmp_path: Path) -> None:
    """An object's address among the parameters would end it."""
    again = run_inner(tmp_path, SUITE, ["-n", "2"])
    histories = [sorted(result["historyId"] for result in s.allure()) for s in (session, again)]
    assert histories[0] == histories[1]
    assert "0x" not in json.dumps([result["parameters"] for result in session.allure()])


def test_command_figures_and_evidence_are_attached(session: Session) -> None:
    """Each migration is a step; what observers add in tear-down is not too late."""
    result = one(session, "passes")
    (step,) = result["steps"]
    assert step["name"] == "migration 1: completed"
    virsh, figures = step["attachments"]
    assert attachment(session, virsh) == "virsh migrate g1"
    assert json.loads(attachment(session, figures))["plan"] == {"tls": True}
    (samples,) = result["attachments"]
    assert (samples["name"], samples["type"]) == ("job samples", "text/csv")
    assert samples["source"].endswith(".csv")


def test_environment_and_categories_lie_beside_the_results(session: Session) -> None:
    """The acceleration and the versions are in every report."""
    lines = (session.out / "allure-results" / "environment.properties").read_text().splitlines()
    assert {"acceleration = tcg", "pairs = a1-b1, a2-b2", r"host\ a1.qemu = 7.2"} <= set(lines)
    categories = json.loads((session.out / "allure-results" / "categories.json").read_text())
    assert {status for each in categories for status in each["matchedStatuses"]} == {
        "failed",
        "broken",
        "skipped",
    }
