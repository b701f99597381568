"""Parse QEMU's migration features, and describe features that a plan needs and QEMU lacks.

The functions are pure. The features come from the QMP commands `query-qmp-schema`,
`query-migrate-capabilities` and `query-migrate-parameters`. A QEMU process that runs no guest
replies to the commands.
https://www.qemu.org/docs/master/interop/qemu-qmp-ref.html
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from migqual.model.plan import Compression, Plan

# QEMU features for each compression method of libvirt: capability, parameter, parameter value
_REQUIRED_FEATURES: Mapping[Compression, tuple[str, str, str]] = {
    Compression.NONE: ("", "", ""),
    Compression.XBZRLE: ("xbzrle", "xbzrle-cache-size", ""),
    Compression.MT: ("compress", "compress-level", ""),
    Compression.ZLIB: ("multifd", "multifd-compression", "zlib"),
    Compression.ZSTD: ("multifd", "multifd-compression", "zstd"),
}
# libvirt's messages for a compression method that libvirt or QEMU does not have
_UNSUPPORTED_MESSAGE = re.compile(
    r"(?i)unsupported compression method|compression method '\w+' is not supported"
    r"|(?:option|capability|parameter) '?[\w.-]+'? (?:is )?not supported"
)


@dataclass(frozen=True)
class MigrationFeatures:
    """The migration features of QEMU on a host.

    Attributes:
        capabilities: Names of the migration capabilities.
        parameters: Value of each migration parameter in a new QEMU process, by name.
        enum_values: Allowed values of each parameter with an enum type, by name.
    """

    host: str
    version: str
    capabilities: frozenset[str]
    parameters: Mapping[str, Any]
    enum_values: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def describe_missing_parameter(self, name: str, value: object = "") -> str:
        """Describe why QEMU cannot set the migration parameter `name` to `value`.

        Args:
            name: Name of the parameter.
            value: Value to set. If the parameter has an enum type, the method checks whether QEMU
                allows the value. If the value is an empty text, the method checks only the name.

        Returns:
            A sentence with the name of the host. The text is empty if QEMU can set the parameter.
        """
        if name not in self.parameters:
            return f"{self.host}: {self.version} has no migration parameter {name}"
        enum_values = self.enum_values.get(name, ())
        if isinstance(value, str) and value and enum_values and value not in enum_values:
            return (
                f"{self.host}: {self.version} does not support the value {value} of {name}, "
                f"only {', '.join(enum_values)}"
            )
        return ""

    def describe_missing_feature(self, plan: Plan) -> str:
        """Describe the first feature that `plan` needs and QEMU lacks, or return an empty text."""
        capability, parameter, value = _REQUIRED_FEATURES[plan.compression]
        if capability and capability not in self.capabilities:
            return f"{self.host}: {self.version} has no migration capability {capability}"
        required_parameters: list[tuple[str, object]] = [(parameter, value)] if parameter else []
        required_parameters += [
            (qemu_parameter.name, qemu_parameter.value) for qemu_parameter in plan.qemu_parameters
        ]
        return next(
            (
                description
                for name_and_value in required_parameters
                if (description := self.describe_missing_parameter(*name_and_value))
            ),
            "",
        )


def describe_missing_features(plan: Plan, host_features: Sequence[MigrationFeatures]) -> str:
    """Describe for each host the first feature that `plan` needs and the host's QEMU lacks.

    The text is empty if no host lacks a feature.
    """
    return "; ".join(
        description
        for features in host_features
        if (description := features.describe_missing_feature(plan))
    )


def is_unsupported_message(message: str) -> bool:
    """Return whether libvirt's `message` says that a method or an option is not supported."""
    return bool(_UNSUPPORTED_MESSAGE.search(message))


def parse_migration_features(host: str, replies: Mapping[str, Any]) -> MigrationFeatures:
    """Parse the migration features of a host from QEMU's replies.

    Args:
        host: Name of the host.
        replies: QMP replies by command: `query-version`, `query-migrate-capabilities`,
            `query-migrate-parameters` and `query-qmp-schema`.
    """
    version = replies["query-version"]["qemu"]
    version_text = ".".join(str(version[part]) for part in ("major", "minor", "micro"))
    return MigrationFeatures(
        host=host,
        version=f"QEMU {version_text}",
        capabilities=frozenset(
            str(capability["capability"]) for capability in replies["query-migrate-capabilities"]
        ),
        parameters=replies["query-migrate-parameters"],
        enum_values=dict(_list_enum_values(replies["query-qmp-schema"])),
    )


def _list_enum_values(schema: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, tuple[str, ...]]]:
    """List name and allowed values of each migration parameter with an enum type."""
    types = {entry["name"]: entry for entry in schema}
    command = types.get("migrate-set-parameters")
    for member in types[command["arg-type"]]["members"] if command else ():
        member_type = types[member["type"]]
        if member_type["meta-type"] == "enum":
            # QEMU replaced the list of names (`values`) by a list of objects (`members`).
            # Some versions send both.
            names = member_type.get("values") or [entry["name"] for entry in member_type["members"]]
            yield member["name"], tuple(names)
