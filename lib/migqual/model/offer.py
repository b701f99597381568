"""Pure: what a QEMU offers for migrations, by its own account, and what a plan finds lacking.

Read from `query-qmp-schema`, `query-migrate-capabilities` and `query-migrate-parameters` of a QEMU
without a guest: https://www.qemu.org/docs/master/interop/qemu-qmp-ref.html
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from migqual.model.plan import Compression, Plan

# what the methods that libvirt knows take of QEMU: a capability, a parameter and a value of it
_NEEDS: Mapping[Compression, tuple[str, str, str]] = {
    Compression.NONE: ("", "", ""),
    Compression.XBZRLE: ("xbzrle", "xbzrle-cache-size", ""),
    Compression.MT: ("compress", "compress-level", ""),
    Compression.ZLIB: ("multifd", "multifd-compression", "zlib"),
    Compression.ZSTD: ("multifd", "multifd-compression", "zstd"),
}
# libvirt on a method that it has not, or that its QEMU has not
_UNOFFERED = re.compile(
    r"(?i)unsupported compression method|compression method '\w+' is not supported"
    r"|(?:option|capability|parameter) '?[\w.-]+'? (?:is )?not supported"
)


@dataclass(frozen=True)
class Offer:
    """What one host's QEMU has.

    parameters  of migrations, with the values that a new guest starts with
    choices     the values that a parameter takes, where they are names
    """

    host: str
    version: str
    capabilities: frozenset[str]
    parameters: Mapping[str, Any]
    choices: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def lacks_parameter(self, name: str, value: object = "") -> str:
        """What is missing for `name` to be set to `value`, in words; empty when nothing is."""
        if name not in self.parameters:
            return f"{self.host}: {self.version} has no migration parameter {name}"
        choices = self.choices.get(name, ())
        if isinstance(value, str) and value and choices and value not in choices:
            return f"{self.host}: {self.version} has {name} {', '.join(choices)}, not {value}"
        return ""

    def lacks(self, plan: Plan) -> str:
        """What `plan` needs of QEMU and is not there, in words; empty when all is there."""
        capability, parameter, value = _NEEDS[plan.compression]
        if capability and capability not in self.capabilities:
            return f"{self.host}: {self.version} has no migration capability {capability}"
        wanted: list[tuple[str, object]] = [(parameter, value)] if parameter else []
        wanted += [(one.name, one.value) for one in plan.settings]
        return next((words for each in wanted if (words := self.lacks_parameter(*each))), "")


def lacking(plan: Plan, offers: Sequence[Offer]) -> str:
    """What the ends lack of `plan`, in words; empty when both have all of it."""
    return "; ".join(words for offer in offers if (words := offer.lacks(plan)))


def unoffered(words: str) -> bool:
    """Whether libvirt refused with the words for a method that it does not offer."""
    return bool(_UNOFFERED.search(words))


def read(host: str, answers: Mapping[str, Any]) -> Offer:
    """From the answers of QEMU, by command."""
    version = answers["query-version"]["qemu"]
    dotted = ".".join(str(version[part]) for part in ("major", "minor", "micro"))
    return Offer(
        host=host,
        version=f"QEMU {dotted}",
        capabilities=frozenset(
            str(one["capability"]) for one in answers["query-migrate-capabilities"]
        ),
        parameters=answers["query-migrate-parameters"],
        choices=dict(_choices(answers["query-qmp-schema"])),
    )


def _choices(schema: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Of every parameter that takes names: the names."""
    types = {one["name"]: one for one in schema}
    command = types.get("migrate-set-parameters")
    for member in types[command["arg-type"]]["members"] if command else ():
        kind = types[member["type"]]
        if kind["meta-type"] == "enum":
            # the list of plain names gave way to a list of objects; QEMU sends both for a while
            plain = kind.get("values") or [one["name"] for one in kind["members"]]
            yield member["name"], tuple(plain)
