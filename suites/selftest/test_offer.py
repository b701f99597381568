"""What a QEMU offers, read from its answers; what a plan finds lacking; settings at both ends."""

import json
import re
from typing import Any

import pytest
from lxml import etree

from migqual.migration.settings import definition
from migqual.model import command, offer
from migqual.model.offer import Offer, lacking, unoffered
from migqual.model.plan import Compression, Plan
from migqual.model.setting import Ends, Setting

pytestmark = pytest.mark.selftest

ZSTD = Setting("compress-method", "zstd", Ends.BOTH)
WAIT = Setting("compress-wait-thread", value=False)
STOCK = ("compress", "xbzrle", "multifd")
OPENEULER = {"compress-level": 1, "compress-method": "zlib", "multifd-compression": "none"}
XML = "<domain type='qemu'><name>g</name></domain>"


def schema(plain: str) -> list[dict[str, Any]]:
    """As QEMU tells it; older ones list an enum's names in `values`, newer ones as objects."""
    names = ["zlib", "zstd"]
    members = {"values": names} if plain == "names" else {"members": [{"name": n} for n in names]}
    return [
        {"name": "migrate-set-parameters", "meta-type": "command", "arg-type": "1"},
        {
            "name": "1",
            "meta-type": "object",
            "members": [{"name": "compress-method", "type": "2"}, {"name": "n", "type": "int"}],
        },
        {"name": "2", "meta-type": "enum", **members},
        {"name": "int", "meta-type": "builtin"},
    ]


def host(name: str, *capabilities: str, **parameters: Any) -> Offer:  # noqa: ANN401
    found = {key.replace("_", "-"): value for key, value in parameters.items()}
    choices = {"compress-method": ("zlib", "zstd"), "multifd-compression": ("none", "zlib")}
    return Offer(name, "QEMU 8.2.0", frozenset(capabilities), found, choices)


@pytest.mark.parametrize("plain", ["names", "objects"])
def test_offer_is_read_from_the_answers(plain: str) -> None:
    """Version, capabilities, values, and the names that a parameter takes."""
    answers = {
        "query-version": {"qemu": {"major": 8, "minor": 2, "micro": 1}},
        "query-qmp-schema": schema(plain),
        "query-migrate-capabilities": [{"capability": "compress", "state": False}],
        "query-migrate-parameters": {"compress-method": "zlib"},
    }

    found = offer.read("a", answers)

    assert found.version == "QEMU 8.2.1"
    assert found.capabilities == {"compress"}
    assert found.parameters == {"compress-method": "zlib"}
    assert found.choices == {"compress-method": ("zlib", "zstd")}


@pytest.mark.parametrize(
    ("plan", "words"),
    [
        (Plan(), ""),
        (Plan(compression=Compression.MT), ""),
        (Plan(compression=Compression.MT, settings=(ZSTD,)), ""),
        (Plan(compression=Compression.ZLIB, channels=2), ""),
        (
            Plan(compression=Compression.ZSTD, channels=2),
            "a: QEMU 8.2.0 has multifd-compression none, zlib, not zstd",
        ),
        (
            Plan(settings=(Setting("compress-method", "lzma"),)),
            "a: QEMU 8.2.0 has compress-method zlib, zstd, not lzma",
        ),
        (Plan(settings=(WAIT,)), "a: QEMU 8.2.0 has no migration parameter compress-wait-thread"),
        (
            Plan(compression=Compression.XBZRLE),
            "a: QEMU 8.2.0 has no migration parameter xbzrle-cache-size",
        ),
    ],
    ids=lambda value: "" if isinstance(value, str) else re.sub(r"\W+", "-", str(value.chosen())),
)
def test_what_a_plan_finds_lacking(plan: Plan, words: str) -> None:
    """Capability, parameter and value are all needed, and named when one is not there."""
    parameters = {key.replace("-", "_"): value for key, value in OPENEULER.items()}

    assert lacking(plan, (host("a", *STOCK, **parameters),)) == words


def test_both_ends_are_looked_at() -> None:
    """What one end lacks counts, whichever it is."""
    new = host("new", "xbzrle", xbzrle_cache_size=1)
    old = host("old", "compress", compress_level=1)

    plan = Plan(compression=Compression.MT)

    assert lacking(plan, (old, old)) == ""
    assert lacking(plan, (old, new)) == "new: QEMU 8.2.0 has no migration capability compress"
    assert lacking(plan, (new, old)) == "new: QEMU 8.2.0 has no migration capability compress"


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("invalid argument: Unsupported compression method 'zstd'", True),
        ("Migration option 'compress' is not supported by QEMU binary", True),
        ("argument unsupported: parameter 'compression.zstd.level' not supported", True),
        ("internal error: Parameter 'compress_level' expects a value between 0 and 9", False),
        ("operation failed: job 'migration out' failed: Unable to write to socket", False),
    ],
    ids=["method", "option", "parameter", "level", "broken"],
)
def test_only_a_lack_is_a_lack(words: str, expected: bool) -> None:  # noqa: FBT001
    """A refused value or a broken migration is not a feature that the host lacks."""
    assert unoffered(words) is expected


def test_settings_are_in_the_printed_command() -> None:
    """What is set through the monitor is a command of its own, before the migration."""
    plan = Plan(settings=(ZSTD, WAIT))

    words = command.virsh_before(plan, source_uri="qemu+ssh://a/system", domain="g")

    assert words[:-1] == ["virsh", "-c", "qemu+ssh://a/system", "qemu-monitor-command", "g"]
    assert json.loads(words[-1]) == {
        "execute": "migrate-set-parameters",
        "arguments": {"compress-method": "zstd", "compress-wait-thread": False},
    }
    assert command.virsh_before(Plan(), source_uri="", domain="g") == []


def test_destination_is_started_with_what_both_ends_need() -> None:
    """And with nothing else: what the source alone needs stays out."""
    found = definition(XML, (ZSTD, WAIT))

    assert found is not None
    assert arguments(found) == ["-global", "migration.compress-method=zstd"]


def test_setting_of_the_last_migration_goes() -> None:
    """A later migration has its own settings or none; other arguments of QEMU stay."""
    first = definition(XML, (ZSTD,))
    assert first is not None
    space = "{http://libvirt.org/schemas/domain/qemu/1.0}"
    root = etree.fromstring(first)
    line = root.find(f"{space}commandline")
    assert line is not None
    for value in ("-global", "other.x=1"):
        etree.SubElement(line, f"{space}arg", value=value)
    both = etree.tostring(root, encoding=str)

    again = definition(both, (Setting("compress-method", "zlib", Ends.BOTH),))
    without = definition(both, ())
    bare = definition(first, ())

    assert again is not None
    assert without is not None
    assert bare is not None
    assert arguments(again)[-1] == "migration.compress-method=zlib"
    assert arguments(without) == ["-global", "other.x=1"]
    assert "commandline" not in bare
    assert definition(XML, ()) is None


def arguments(xml: str) -> list[str]:
    space = "{http://libvirt.org/schemas/domain/qemu/1.0}"
    return [str(arg.get("value")) for arg in etree.fromstring(xml).iter(f"{space}arg")]
