"""The results for Allure: labels, status, history, attachments and environment."""

import json
from pathlib import Path
from typing import Any

import pytest

from suites.selftest.support.inner_session import InnerSession, run_inner_session

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

def test_failed(pair): raise MigrationFailed("error of the stack")
def test_guest_error(pair): raise GuestError("no agent")
def test_unsupported(pair): raise UnsupportedError("no zstd")
'''


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> InnerSession:
    return run_inner_session(tmp_path_factory.mktemp("allure"), SUITE)


def get_result(session: InnerSession, name: str, pair: str = "a1-b1") -> Any:  # noqa: ANN401 - JSON
    (test_result,) = (
        result
        for result in session.read_allure_results()
        if result["fullName"].endswith(f"#test_{name}")
        and {"name": "pair", "value": pair} in result["parameters"]
    )
    return test_result


def read_attachment(session: InnerSession, entry: Any) -> str:  # noqa: ANN401 - JSON
    file: Path = session.out_folder / "allure-results" / entry["source"]
    return file.read_text()


def test_allure_result_has_chapter_requirements_and_docstring(session: InnerSession) -> None:
    """A result has the chapter as epic, the requirements as stories, title and description."""
    result = get_result(session, "passes")
    labels = {(label["name"], label["value"]) for label in result["labels"]}
    assert {value for name, value in labels if name == "epic"} == {"Capabilities"}
    stories = sorted(value for name, value in labels if name == "story")
    assert [story[:10] for story in stories] == ["LM-CAP-01 ", "LM-CAP-02 "]
    assert result["name"] == "A guest moves."
    assert result["description"] == "Expected: it runs on."


@pytest.mark.parametrize(
    ("name", "status"),
    [
        ("passes", "passed"),
        ("failed", "failed"),
        ("guest_error", "broken"),
        ("unsupported", "skipped"),
    ],
)
def test_allure_status_separates_host_faults_from_lab_errors(
    session: InnerSession, name: str, status: str
) -> None:
    """The status follows the verdict of the test, not the class of the exception."""
    assert get_result(session, name)["status"] == status


def test_allure_history_id_differs_between_pairs(session: InnerSession) -> None:
    """Allure merges results with equal history ids, so the ids of two pairs must differ."""
    history_ids = {get_result(session, "passes", pair)["historyId"] for pair in ("a1-b1", "a2-b2")}
    assert len(history_ids) == 2


def test_allure_history_id_is_the_same_in_every_run(session: InnerSession, tmp_path: Path) -> None:
    """History ids do not depend on addresses of Python objects in the parameters."""
    second_session = run_inner_session(tmp_path, SUITE, ["-n", "2"])
    histories = [
        sorted(result["historyId"] for result in inner_session.read_allure_results())
        for inner_session in (session, second_session)
    ]
    assert histories[0] == histories[1]
    assert "0x" not in json.dumps(
        [result["parameters"] for result in session.read_allure_results()]
    )


def test_allure_steps_have_command_figures_and_evidence(session: InnerSession) -> None:
    """Each migration is a step, with the virsh command and the figures as attachments.

    Evidence that a fixture adds in tear-down is attached to the result of the test.
    """
    result = get_result(session, "passes")
    (step,) = result["steps"]
    assert step["name"] == "migration 1: completed"
    virsh, figures = step["attachments"]
    assert read_attachment(session, virsh) == "virsh migrate g1"
    assert json.loads(read_attachment(session, figures))["plan"] == {"tls": True}
    (samples,) = result["attachments"]
    assert (samples["name"], samples["type"]) == ("job samples", "text/csv")
    assert samples["source"].endswith(".csv")


def test_allure_environment_and_categories_files(session: InnerSession) -> None:
    """The results for Allure contain a file with the environment and a file with the categories.

    The environment has the acceleration of the guests (`tcg`), the pairs and the versions of the
    hosts. The categories are groups of tests with the status failed, broken or skipped.
    """
    lines = (
        (session.out_folder / "allure-results" / "environment.properties").read_text().splitlines()
    )
    assert {"acceleration = tcg", "pairs = a1-b1, a2-b2", r"host\ a1.qemu = 7.2"} <= set(lines)
    categories = json.loads((session.out_folder / "allure-results" / "categories.json").read_text())
    assert {status for category in categories for status in category["matchedStatuses"]} == {
        "failed",
        "broken",
        "skipped",
    }
