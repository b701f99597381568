"""Render domain XML from `fixtures/domains`, and validate domain XML with libvirt's schema."""

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from lxml import etree

from migqual import paths
from migqual.errors import GuestError

SCHEMA_FILE = Path("/usr/share/libvirt/schemas/domain.rng")


def render_domain_xml(context: Mapping[str, Any], template: str = "guest.xml.j2") -> str:
    """Render the domain XML of a guest and validate the result.

    Args:
        context: Variables of the template, from `build_template_context`.
        template: Name of the file in `fixtures/domains`.

    Returns:
        The domain XML.

    Raises:
        GuestError: The XML violates the schema. The error has the validator's first message.
    """
    xml = _create_template_environment().get_template(template).render(context)
    validate_domain_xml(xml)
    return xml


def validate_domain_xml(xml: str) -> None:
    """Validate domain XML with libvirt's RelaxNG schema for domains.

    If the controller has no schema file, the function accepts any well-formed XML.

    Raises:
        GuestError: The XML violates the schema. The error has the validator's first message.
    """
    schema = _load_schema()
    document = etree.fromstring(xml)
    if schema is not None and not schema.validate(document):
        schema_error = schema.error_log[0]
        raise GuestError(
            f"domain XML, line {schema_error.line}: {schema_error.message}",
            remedy="correct the template in fixtures/domains",
        )


@cache
def _create_template_environment() -> Environment:
    return Environment(
        loader=FileSystemLoader(paths.FIXTURES / "domains"),
        undefined=StrictUndefined,
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )


@cache
def _load_schema() -> etree.RelaxNG | None:
    """Load libvirt's schema for domain XML. Return None if the controller has no schema file.

    Without the schema file, only libvirt on the host validates the XML.
    """
    return etree.RelaxNG(etree.parse(SCHEMA_FILE)) if SCHEMA_FILE.exists() else None
