"""Define types for values in user-written files: addresses, ports, paths and names.

Each type checks the value in the file, and converts the value to a Python object.
"""

import re
import shlex
from ipaddress import ip_address
from pathlib import Path, PurePosixPath
from string import Formatter
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field, PlainValidator

from migqual.inventory.entities import IPAddress

MAX_ADDRESSES = 4096
NAME_PATTERN = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
HOSTNAME_PATTERN = re.compile(
    r"(?=.{1,253}$)[A-Za-z0-9]([A-Za-z0-9_-]*[A-Za-z0-9])?(\.[A-Za-z0-9_-]+)*\.?"
)
ISCSI_NAME_PATTERN = re.compile(
    r"iqn\.\d{4}-\d{2}\.[a-z0-9.-]+(:\S+)?|eui\.[0-9A-Fa-f]{16}|naa\.[0-9A-Fa-f]+"
)
JUMP_HOST_PATTERN = re.compile(r"([^\s@,]+@)?(\[[0-9A-Fa-f:]+\]|[^\s@,:]+)(:\d{1,5})?")
INTERFACE_NAME_PATTERN = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,14}")


def _require_match(pattern: re.Pattern[str], message: str) -> AfterValidator:
    def check_match(text: str) -> str:
        if not pattern.fullmatch(text):
            raise ValueError(message)
        return text

    return AfterValidator(check_match)


def _check_printable(text: str) -> str:
    if not text or not text.isprintable():
        raise ValueError("the text is empty, or contains unprintable characters")
    return text


def _check_text(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError("the value is not text; put the value in quotes")  # noqa: TRY004 - pydantic collects ValueError
    return _check_printable(value)


def _check_whole_number(value: object) -> object:
    if isinstance(value, bool | float):
        raise ValueError("not a whole number")  # noqa: TRY004 - pydantic collects ValueError
    return value


def is_ip_address(text: str) -> bool:
    """Return whether `text` is an IPv4 or IPv6 address."""
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


def normalize_address(text: str) -> str:
    """Return the shortest form of the IP address `text`, or any other text unchanged."""
    return str(ip_address(text)) if is_ip_address(text) else text


def _check_ip_address(text: str) -> str:
    if not is_ip_address(text):
        raise ValueError("not an IP address")
    return text


def _parse_ip_address(value: object) -> IPAddress:
    return ip_address(_check_ip_address(_check_text(value)))


def _check_address_or_hostname(text: str) -> str:
    is_address_like = re.fullmatch(r"[\d.]+|.*:.*", text)
    if not is_ip_address(text) and (is_address_like or not HOSTNAME_PATTERN.fullmatch(text)):
        raise ValueError("the value is neither an IP address nor a host name")
    return text


def _expand_home(value: object) -> Path:
    try:
        return Path(_check_text(value)).expanduser()
    except RuntimeError:
        raise ValueError("the user after ~ has no home directory on the controller") from None


def _parse_absolute_path(value: object) -> PurePosixPath:
    path = PurePosixPath(_check_text(value))
    if not path.is_absolute() or ".." in path.parts or path == PurePosixPath("/"):
        raise ValueError("the path must be an absolute path; .. and the root / are not allowed")
    return path


def _split_comma_list(value: object) -> object:
    return [part.strip() for part in value.split(",")] if isinstance(value, str) else value


def _parse_proxy_jump(value: object) -> str:
    """Extract the jump hosts from SSH arguments, and refuse any other SSH argument."""
    text = _check_text(value)
    match = re.fullmatch(r"\s*(?:-J\s*|-o\s*ProxyJump[=\s]\s*)(\S+)\s*", text.replace('"', ""))
    if not match:
        raise ValueError(
            "the value must be -J HOSTS or -o ProxyJump=HOSTS; or remove ansible_ssh_common_args, "
            "and set migqual_jump_hosts"
        )
    return match[1]


def _check_uri_template(text: str) -> str:
    _list_placeholders(text, ("address", "host", "name", "user", "port"))
    if "://" not in text:
        raise ValueError("not a URI: :// is missing")
    return text


def _check_power_command(text: str) -> str:
    if "action" not in _list_placeholders(text, ("action", "name", "address")):
        raise ValueError(
            "the placeholder {action} is missing; migqual replaces {action} by the word off or on"
        )
    try:
        shlex.split(text)
    except ValueError as error:
        raise ValueError(
            f"not a command that can be split into words: {error}; check the quotes"
        ) from error
    return text


def _list_placeholders(text: str, allowed_names: tuple[str, ...]) -> set[str]:
    """List the names of the placeholders in a template.

    Raises:
        ValueError: The name of a placeholder is not in `allowed_names`, or the placeholder contains
            more than a name, e.g. ``{port:d}``.
    """
    try:
        placeholders = {
            (field, spec, conversion)
            for _, field, spec, conversion in Formatter().parse(text)
            if field is not None
        }
    except ValueError:
        placeholders = {("", None, None)}
    if not placeholders <= {(name, "", None) for name in allowed_names}:
        raise ValueError("use only the placeholders {" + "}, {".join(allowed_names) + "}")
    return {name for name, _, _ in placeholders}


def _parse_addresses(value: object) -> tuple[IPAddress, ...]:
    """Parse an IP address, a range ``FIRST-LAST``, or a list of addresses and ranges."""
    entries = value if isinstance(value, list) else [value]
    addresses = tuple(address for entry in entries for address in _expand_address_range(str(entry)))
    if len(set(addresses)) != len(addresses):
        raise ValueError("two entries of the list contain the same address; correct one entry")
    if not addresses:
        raise ValueError("the list of addresses is empty; add an address")
    return addresses


def _expand_address_range(entry: str) -> list[IPAddress]:
    first_text, dash, last_text = (part.strip() for part in entry.partition("-"))
    try:
        first = ip_address(first_text)
        last = ip_address(last_text) if dash else first
    except ValueError:
        raise ValueError(f"{entry!r} is neither an IP address nor an address range") from None
    if type(first) is not type(last) or int(last) < int(first):
        raise ValueError(f"the range {entry!r} must go from a lower to a higher address")
    if int(last) - int(first) >= MAX_ADDRESSES:
        raise ValueError(f"the range {entry!r} has more than {MAX_ADDRESSES} addresses")
    return [first + step for step in range(int(last) - int(first) + 1)]


def _parse_port_range(value: object) -> range:
    match = re.fullmatch(r"(\d{1,5})(?:\s*-\s*(\d{1,5}))?", str(value))
    first, last = (int(match[1]), int(match[2] or match[1])) if match else (0, 0)
    if not 1 <= first <= last <= 65535:
        raise ValueError("the value is not a port range such as 10809-10899")
    return range(first, last + 1)


Text = Annotated[str, AfterValidator(_check_printable)]
Name = Annotated[
    str,
    _require_match(
        NAME_PATTERN,
        "a name contains only letters, digits, _ . and -, and begins with a letter or digit",
    ),
]
WholeNumber = Annotated[int, BeforeValidator(_check_whole_number)]
Port = Annotated[WholeNumber, Field(ge=1, le=65535)]
IpAddressText = Annotated[Text, AfterValidator(_check_ip_address)]
AddressOrHostname = Annotated[Text, AfterValidator(_check_address_or_hostname)]
LocalPath = Annotated[Path, BeforeValidator(_expand_home)]
RemotePath = Annotated[PurePosixPath, BeforeValidator(_parse_absolute_path)]
PortRange = Annotated[range, PlainValidator(_parse_port_range)]
Addresses = Annotated[tuple[IPAddress, ...], BeforeValidator(_parse_addresses)]
SingleAddress = Annotated[IPAddress, BeforeValidator(_parse_ip_address)]
PeerUri = Annotated[Text, AfterValidator(_check_uri_template)]
PowerCommand = Annotated[Text, AfterValidator(_check_power_command)]
IscsiName = Annotated[
    str,
    _require_match(
        ISCSI_NAME_PATTERN, "the value is not an iSCSI name such as iqn.2001-04.com.example:x"
    ),
]
JumpHost = Annotated[str, _require_match(JUMP_HOST_PATTERN, "the value is not [user@]host[:port]")]
JumpHosts = Annotated[tuple[JumpHost, ...], BeforeValidator(_split_comma_list)]
ProxyJump = Annotated[JumpHosts, BeforeValidator(_parse_proxy_jump)]
InterfaceName = Annotated[
    str, _require_match(INTERFACE_NAME_PATTERN, "the value is not the name of a network interface")
]
