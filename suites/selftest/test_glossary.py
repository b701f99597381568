"""Users see the words of docs/glossary.md only, and no word that a reader has to interpret."""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum

import pytest

from migqual import paths
from migqual.model.finding import Severity
from migqual.model.outcome import MigrationStatus
from migqual.model.record import Demand
from migqual.model.verdict import Verdict
from migqual.preflight.storage_facts import DiskLocation
from suites.selftest.support.labels import (
    LABEL_SOURCES,
    SOURCE_FOLDERS,
    list_docstrings,
    list_marker_names,
    list_string_literals,
    parse_file,
)

pytestmark = pytest.mark.selftest

# Words of a label that are another form of a term or of a plain word.
WORD_FORMS = {
    "avg": "average",
    "bench": "benchmark",
    "demanded": "demand",
    "param": "parameter",
    "predict": "prediction",
    "qualification": "qualified",
    "qualify": "qualified",
    "ran": "run",
    "restore": "restored",
    "started": "start",
}
# Words that everybody knows and that have no special meaning in this project, and units.
PLAIN_WORDS = {
    *("a", "are", "at", "for", "from", "no", "outside", "per", "under", "up"),
    *("clean", "compare", "create", "define", "examined", "finished", "forget", "install"),
    *("keep", "observe", "remove", "rotate", "sent", "show", "spent", "start", "wait", "work"),
    *("average", "cost", "date", "dir", "down", "dry", "end", "exec", "idle", "line", "longest"),
    *(
        "minute",
        "name",
        "offline",
        "old",
        "pattern",
        "peak",
        "second",
        "serial",
        "share",
        "signature",
    ),
    *("sum", "value", "version"),
    *("hz", "mib", "ms", "n", "percent", "s"),
    *("env", "json", "migqual", "mugen"),
}
# Old-fashioned, figurative or ambiguous words: a reader has to guess the meaning.
FORBIDDEN_WORDS = (
    *("told", "foretell", "foretold", "look", "looks", "looked", "looking", "way", "ways"),
    *("furnish", "furnishes", "furnished", "aside", "restless", "in vain", "stranger"),
    *("strangers", "quiet", "standing", "course", "mend", "mends", "mended", "owed", "ear"),
    *("ears", "hardly", "away"),
)
FORBIDDEN_PATTERN = re.compile(rf"(?<![\w-])({'|'.join(FORBIDDEN_WORDS)})(?![\w-])", re.IGNORECASE)
# `quiet` is a parameter of the Linux kernel.
ALLOWED_OCCURRENCES = {
    ("lib/migqual/image/cloud_image.py", "quiet"),
    ("lib/migqual/image/guest_image.py", "quiet"),
}


@dataclass(frozen=True)
class Glossary:
    """The table of terms in docs/glossary.md.

    Attributes:
        terms: The first column, in the order of the file, without backticks.
        equal_names: The third column, which has names of libvirt, QEMU, pytest or Linux.
    """

    terms: tuple[str, ...]
    equal_names: tuple[str, ...]

    @classmethod
    def parse(cls, text: str) -> "Glossary":
        """Parse the first table of the glossary."""
        rows = re.findall(r"^\| (.+?) \| .+ \| (.+?) \|$", text, re.MULTILINE)
        assert rows[0] == ("term", "equal to"), rows[0]
        return cls(
            tuple(term.replace("`", "") for term, _ in rows[1:]),
            tuple(name for _, name in rows[1:]),
        )

    @property
    def words(self) -> frozenset[str]:
        """Return all words of `terms` and `equal_names`."""
        texts = (*self.terms, *self.equal_names)
        return frozenset(word for text in texts for word in split_words(text))

    def has_term(self, name: str) -> bool:
        """Return whether the glossary has the term `name`, alone or followed by parentheses.

        For example, `phase` gives True, because the glossary has the term `phase (test)`.
        """
        return name in {term.partition(" (")[0] for term in self.terms}

    def find_unknown_words(self, label: str) -> list[str]:
        """Find the words of a label that are not in the glossary, PLAIN_WORDS or WORD_FORMS.

        A label is a short text that users see, for example a heading of the report or an option.
        """
        return [
            word
            for word in split_words(label)
            if word not in self.words | PLAIN_WORDS | WORD_FORMS.keys()
        ]


def split_words(text: str) -> list[str]:
    """Split a text into lower-case singular words; `post-copy` and `pre-copy` stay whole words."""
    return [
        to_singular(word)
        for word in re.findall(r"p(?:ost|re)-copy|[a-z]+(?:[0-9][a-z])?", text.lower())
    ]


def to_singular(word: str) -> str:
    """Return the singular of an English noun; other words stay as they are."""
    if len(word) < 4 or word.endswith(("ss", "us", "is")):
        return word
    return re.sub(r"ies$", "y", word) if word.endswith("ies") else word.removesuffix("s")


GLOSSARY = Glossary.parse((paths.ROOT / "docs" / "glossary.md").read_text(encoding="utf-8"))


def find_forbidden_words(text: str) -> list[str]:
    """Find the words of FORBIDDEN_WORDS in a text; return the words in lower case."""
    return [match.lower() for match in FORBIDDEN_PATTERN.findall(text)]


@pytest.mark.parametrize("list_labels", LABEL_SOURCES)
def test_labels_use_terms_of_the_glossary(list_labels: Callable[[], Iterable[str]]) -> None:
    """Each word of a label is in the glossary, in PLAIN_WORDS or in WORD_FORMS.

    A label is a short text that users see, for example a heading of the report or an option.
    """
    labels = list(list_labels())
    unknown_words = {
        label: words for label in labels if (words := GLOSSARY.find_unknown_words(label))
    }

    assert len(labels) > 5
    assert unknown_words == {}


def test_lists_of_allowed_words_are_short() -> None:
    """PLAIN_WORDS and the keys of WORD_FORMS contain only words that labels need.

    Each plain word and each key is in a label, but not in the glossary. A label is a short text
    that users see, for example a heading of the report or an option. The value of a key, for
    example `benchmark` for the key `bench`, is in the glossary or in PLAIN_WORDS.
    """
    labels = (label for list_labels in LABEL_SOURCES for label in list_labels())
    used_words = {word for label in labels for word in split_words(label)}

    assert PLAIN_WORDS | WORD_FORMS.keys() == used_words - GLOSSARY.words
    assert set(WORD_FORMS.values()) <= GLOSSARY.words | PLAIN_WORDS


@pytest.mark.parametrize("enum", [Verdict, Demand, MigrationStatus, Severity, DiskLocation])
def test_values_in_reports_are_terms(enum: type[StrEnum]) -> None:
    """Each verdict, demand, status, severity and location has an entry in the glossary."""
    assert [value.value for value in enum if not GLOSSARY.has_term(value.value)] == []


def test_markers_are_terms() -> None:
    """Each marker of pytest.ini has an entry in the glossary."""
    marker_names = list_marker_names()

    assert "requirement" in marker_names
    assert [name for name in marker_names if not GLOSSARY.has_term(name)] == []


def test_terms_are_sorted_and_unique() -> None:
    """The terms of the glossary are in alphabetical order, and no term appears twice."""
    names = [term.casefold() for term in GLOSSARY.terms]

    assert len(names) > 150
    assert names == sorted(set(names))


@pytest.mark.parametrize(
    ("label", "unknown_words"),
    [
        ("foretold downtime", ["foretold"]),
        ("residues", ["residue"]),
        ("--cells", ["cell"]),
        ("gap_quiet_ms", ["quiet"]),
        ("Downtime limits of guests", []),
        ("post-copy requests", []),
    ],
)
def test_unknown_word_of_a_label_is_found(label: str, unknown_words: list[str]) -> None:
    """Words of a label that are not in the glossary, PLAIN_WORDS or WORD_FORMS are found."""
    assert GLOSSARY.find_unknown_words(label) == unknown_words


def test_code_has_no_forbidden_words() -> None:
    """Messages, help texts and docstrings of library and fixtures have no forbidden word.

    FORBIDDEN_WORDS has words that are old-fashioned, figurative or ambiguous, such as `furnish`.
    """
    occurrences = {
        (str(file.relative_to(paths.ROOT)), word)
        for folder in SOURCE_FOLDERS
        for file in folder.rglob("*.py")
        for literal in list_string_literals(parse_file(file))
        for word in find_forbidden_words(str(literal.value))
    }

    assert occurrences == ALLOWED_OCCURRENCES


def test_claims_have_no_forbidden_words() -> None:
    """The docstrings of tests, and the YAML files of the fixtures, have no forbidden word.

    FORBIDDEN_WORDS has words that are old-fashioned, figurative or ambiguous, such as `furnish`.
    """
    test_files = [
        file
        for file in (paths.ROOT / "suites").rglob("*.py")
        if "selftest" not in file.relative_to(paths.ROOT).parts
    ]
    texts = [text for file in test_files for text in list_docstrings(parse_file(file))]
    texts += [file.read_text(encoding="utf-8") for file in paths.FIXTURES.rglob("*.yml")]

    assert len(texts) > 200
    assert [word for text in texts for word in find_forbidden_words(text)] == []


def test_forbidden_words_are_found() -> None:
    """A forbidden word is found in upper and in lower case.

    A part of another word does not count, for example `look` in `overlooked`. A command-line option
    does not count, for example `--quiet`.
    """
    assert find_forbidden_words("Told in vain: no ear.") == ["told", "in vain", "ear"]
    assert find_forbidden_words("pip install --quiet; overlooked; recourse; search") == []
