"""Migration features from QMP replies, missing features of a plan, QEMU parameters."""

import json
import re
from typing import Any

import pytest
from lxml import etree

from migqual.migration.qemu_parameters import set_parameters_in_xml
from migqual.model import libvirt_call, migration_features
from migqual.model.migration_features import (
    MigrationFeatures,
    describe_missing_features,
    is_unsupported_message,
)
from migqual.model.plan import Compression, Plan
from migqual.model.qemu_parameter import ParameterEnds, QemuParameter

pytestmark = pytest.mark.selftest

ZSTD_METHOD = QemuParameter("compress-method", "zstd", ParameterEnds.BOTH)
NO_WAIT_THREAD = QemuParameter("compress-wait-thread", value=False)
COMMON_CAPABILITIES = ("compress", "xbzrle", "multifd")
OPENEULER_PARAMETERS = {
    "compress-level": 1,
    "compress-method": "zlib",
    "multifd-compression": "none",
}
DOMAIN_XML = "<domain type='qemu'><name>g</name></domain>"


def build_qmp_schema(enum_form: str) -> list[dict[str, Any]]:
    """Build a QMP schema in which the parameter `compress-method` is an enum: zlib or zstd.

    Args:
        enum_form: With "names", the enum has a list of names in `values`, as in older QEMU. With
            "objects", the enum has an object for each name in `members`, as in newer QEMU.
    """
    names = ["zlib", "zstd"]
    members = (
        {"values": names}
        if enum_form == "names"
        else {"members": [{"name": name} for name in names]}
    )
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


def make_features(host: str, *capabilities: str, **parameters: Any) -> MigrationFeatures:  # noqa: ANN401
    values = {key.replace("_", "-"): value for key, value in parameters.items()}
    enum_values = {"compress-method": ("zlib", "zstd"), "multifd-compression": ("none", "zlib")}
    return MigrationFeatures(host, "QEMU 8.2.0", frozenset(capabilities), values, enum_values)


@pytest.mark.parametrize("enum_form", ["names", "objects"])
def test_migration_features_from_qmp_replies(enum_form: str) -> None:
    """The migration features of a host are parsed from QEMU's replies to QMP commands.

    The features contain the version of QEMU, the migration capabilities, the values of the
    migration parameters, and the allowed values of each parameter with an enum type.
    """
    replies = {
        "query-version": {"qemu": {"major": 8, "minor": 2, "micro": 1}},
        "query-qmp-schema": build_qmp_schema(enum_form),
        "query-migrate-capabilities": [{"capability": "compress", "state": False}],
        "query-migrate-parameters": {"compress-method": "zlib"},
    }

    features = migration_features.parse_migration_features("a", replies)

    assert features.version == "QEMU 8.2.1"
    assert features.capabilities == {"compress"}
    assert features.parameters == {"compress-method": "zlib"}
    assert features.enum_values == {"compress-method": ("zlib", "zstd")}


@pytest.mark.parametrize(
    ("plan", "message"),
    [
        (Plan(), ""),
        (Plan(compression=Compression.MT), ""),
        (Plan(compression=Compression.MT, qemu_parameters=(ZSTD_METHOD,)), ""),
        (Plan(compression=Compression.ZLIB, channels=2), ""),
        (
            Plan(compression=Compression.ZSTD, channels=2),
            "a: QEMU 8.2.0 does not support the value zstd of multifd-compression, only none, zlib",
        ),
        (
            Plan(qemu_parameters=(QemuParameter("compress-method", "lzma"),)),
            "a: QEMU 8.2.0 does not support the value lzma of compress-method, only zlib, zstd",
        ),
        (
            Plan(qemu_parameters=(NO_WAIT_THREAD,)),
            "a: QEMU 8.2.0 has no migration parameter compress-wait-thread",
        ),
        (
            Plan(compression=Compression.XBZRLE),
            "a: QEMU 8.2.0 has no migration parameter xbzrle-cache-size",
        ),
    ],
    ids=lambda value: (
        "" if isinstance(value, str) else re.sub(r"\W+", "-", str(value.list_non_default_fields()))
    ),
)
def test_missing_features_of_a_plan(plan: Plan, message: str) -> None:
    """
    QEMU must have each migration capability, parameter and parameter value that a plan needs.

    Expected: the message names the missing part. The message is empty if QEMU has all parts.
    """
    parameters = {key.replace("-", "_"): value for key, value in OPENEULER_PARAMETERS.items()}

    assert (
        describe_missing_features(plan, (make_features("a", *COMMON_CAPABILITIES, **parameters),))
        == message
    )


def test_features_of_both_hosts_are_checked() -> None:
    """A feature is missing if either host does not have the feature."""
    new_features = make_features("new", "xbzrle", xbzrle_cache_size=1)
    old_features = make_features("old", "compress", compress_level=1)

    plan = Plan(compression=Compression.MT)

    assert describe_missing_features(plan, (old_features, old_features)) == ""
    assert (
        describe_missing_features(plan, (old_features, new_features))
        == "new: QEMU 8.2.0 has no migration capability compress"
    )
    assert (
        describe_missing_features(plan, (new_features, old_features))
        == "new: QEMU 8.2.0 has no migration capability compress"
    )


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("invalid argument: Unsupported compression method 'zstd'", True),
        ("Migration option 'compress' is not supported by QEMU binary", True),
        ("argument unsupported: parameter 'compression.zstd.level' not supported", True),
        ("internal error: Parameter 'compress_level' expects a value between 0 and 9", False),
        ("operation failed: job 'migration out' failed: Unable to write to socket", False),
    ],
    ids=["method", "option", "parameter", "level", "broken"],
)
def test_unsupported_feature_is_recognized_by_message(message: str, expected: bool) -> None:  # noqa: FBT001
    """`is_unsupported_message` recognizes libvirt's messages about an unsupported feature.

    Such a message makes a compression test `unsupported`.
    Expected: the function returns False for a message about a refused value or a failed migration.
    """
    assert is_unsupported_message(message) is expected


def test_qemu_parameters_are_in_the_virsh_command() -> None:
    """`virsh qemu-monitor-command` sets the QEMU parameters of a plan before the migration.

    For a plan without QEMU parameters, migqual builds no such command.
    """
    plan = Plan(qemu_parameters=(ZSTD_METHOD, NO_WAIT_THREAD))

    virsh_command = libvirt_call.build_virsh_monitor_command(
        plan, source_uri="qemu+ssh://a/system", domain="g"
    )

    assert virsh_command[:-1] == ["virsh", "-c", "qemu+ssh://a/system", "qemu-monitor-command", "g"]
    assert json.loads(virsh_command[-1]) == {
        "execute": "migrate-set-parameters",
        "arguments": {"compress-method": "zstd", "compress-wait-thread": False},
    }
    assert libvirt_call.build_virsh_monitor_command(Plan(), source_uri="", domain="g") == []


def test_destination_xml_has_parameters_of_both_ends() -> None:
    """
    The domain XML of the destination contains only QEMU parameters that are set on both hosts.

    Expected: a parameter that is set only at the source is not in the XML.
    """
    destination_xml = set_parameters_in_xml(DOMAIN_XML, (ZSTD_METHOD, NO_WAIT_THREAD))

    assert destination_xml is not None
    assert list_qemu_arguments(destination_xml) == ["-global", "migration.compress-method=zstd"]


def test_parameters_of_the_previous_migration_are_removed() -> None:
    """
    The XML for a later migration has only the parameters of the later migration.

    Expected: parameters of the earlier migration are removed; other QEMU arguments stay.
    """
    first_xml = set_parameters_in_xml(DOMAIN_XML, (ZSTD_METHOD,))
    assert first_xml is not None
    namespace = "{http://libvirt.org/schemas/domain/qemu/1.0}"
    root = etree.fromstring(first_xml)
    commandline = root.find(f"{namespace}commandline")
    assert commandline is not None
    for value in ("-global", "other.x=1"):
        etree.SubElement(commandline, f"{namespace}arg", value=value)
    mixed_xml = etree.tostring(root, encoding=str)

    second_xml = set_parameters_in_xml(
        mixed_xml, (QemuParameter("compress-method", "zlib", ParameterEnds.BOTH),)
    )
    cleared_xml = set_parameters_in_xml(mixed_xml, ())
    plain_xml = set_parameters_in_xml(first_xml, ())

    assert second_xml is not None
    assert cleared_xml is not None
    assert plain_xml is not None
    assert list_qemu_arguments(second_xml)[-1] == "migration.compress-method=zlib"
    assert list_qemu_arguments(cleared_xml) == ["-global", "other.x=1"]
    assert "commandline" not in plain_xml
    assert set_parameters_in_xml(DOMAIN_XML, ()) is None


def list_qemu_arguments(xml: str) -> list[str]:
    namespace = "{http://libvirt.org/schemas/domain/qemu/1.0}"
    return [str(arg.get("value")) for arg in etree.fromstring(xml).iter(f"{namespace}arg")]
