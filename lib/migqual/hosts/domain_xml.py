"""Domain XML from `fixtures/domains`, checked against libvirt's schema before anyone sees it."""

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from lxml import etree

from migqual import places
from migqual.errors import GuestError

SCHEMA = Path("/usr/share/libvirt/schemas/domain.rng")


def render(context: Mapping[str, Any], template: str = "guest.xml.j2") -> str:
    """The XML of one guest. Raises `GuestError` naming the schema's complaint."""
    text = _environment().get_template(template).render(context)
    check(text)
    return text


def check(text: str) -> None:
    """Hold `text` against libvirt's RelaxNG schema for domains."""
    schema = _schema()
    document = etree.fromstring(text)
    if schema is not None and not schema.validate(document):
        first = schema.error_log[0]
        raise GuestError(
            f"domain XML, line {first.line}: {first.message}",
            remedy="mend the template in fixtures/domains",
        )


@cache
def _environment() -> Environment:
    return Environment(
        loader=FileSystemLoader(places.FIXTURES / "domains"),
        undefined=StrictUndefined,
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )


@cache
def _schema() -> etree.RelaxNG | None:
    """libvirt's schema; None where the controller has no libvirt files (the host checks too)."""
    return etree.RelaxNG(etree.parse(SCHEMA)) if SCHEMA.exists() else None
