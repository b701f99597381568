"""Types of single values in the files that people write: addresses, ports, paths, names.

Each takes the text of the file, checks it, and gives the value that the library uses.
"""

import re
from ipaddress import ip_address
from pathlib import Path, PurePosixPath
from string import Formatter
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field, PlainValidator

from migqual.model.inventory import IPAddress

MOST_ADDRESSES = 4096
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
HOSTNAME = re.compile(r"(?=.{1,253}$)[A-Za-z0-9]([A-Za-z0-9_-]*[A-Za-z0-9])?(\.[A-Za-z0-9_-]+)*\.?")
TARGET = re.compile(r"iqn\.\d{4}-\d{2}\.[a-z0-9.-]+(:\S+)?|eui\.[0-9A-Fa-f]{16}|naa\.[0-9A-Fa-f]+")
JUMP = re.compile(r"([^\s@,]+@)?(\[[0-9A-Fa-f:]+\]|[^\s@,:]+)(:\d{1,5})?")
BRIDGE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,14}")


def _matching(pattern: re.Pattern[str], words: str) -> AfterValidator:
    def match(text: str) -> str:
        if not pattern.fullmatch(text):
            raise ValueError(words)
        return text

    return AfterValidator(match)


def _printable(text: str) -> str:
    if not text or not text.isprintable():
        raise ValueError("empty, or holds unprintable characters")
    return text


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError("not text; put it in quotes")  # noqa: TRY004 - pydantic collects ValueError
    return _printable(value)


def _number(value: object) -> object:
    if isinstance(value, bool | float):
        raise ValueError("not a whole number")  # noqa: TRY004 - pydantic collects ValueError
    return value


def is_address(text: str) -> bool:
    """Whether `text` is an IPv4 or IPv6 address."""
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


def _address(text: str) -> str:
    if not is_address(text):
        raise ValueError("not an IP address")
    return text


def _ip(value: object) -> IPAddress:
    return ip_address(_address(_text(value)))


def _address_or_name(text: str) -> str:
    looks_numeric = re.fullmatch(r"[\d.]+|.*:.*", text)
    if not is_address(text) and (looks_numeric or not HOSTNAME.fullmatch(text)):
        raise ValueError("neither an IP address nor a host name")
    return text


def _home(value: object) -> Path:
    try:
        return Path(_text(value)).expanduser()
    except RuntimeError:
        raise ValueError("no such home directory") from None


def _absolute(value: object) -> PurePosixPath:
    path = PurePosixPath(_text(value))
    if not path.is_absolute() or ".." in path.parts or path == PurePosixPath("/"):
        raise ValueError("not an absolute path below /")
    return path


def _listed(value: object) -> object:
    return [part.strip() for part in value.split(",")] if isinstance(value, str) else value


def _proxy_jump(value: object) -> str:
    """The jump hosts in `value`, which may hold nothing else."""
    text = _text(value)
    found = re.fullmatch(r"\s*(?:-J\s*|-o\s*ProxyJump[=\s]\s*)(\S+)\s*", text.replace('"', ""))
    if not found:
        raise ValueError("only -J or -o ProxyJump=... is understood; use migqual_jump_hosts")
    return found[1]


def _template(text: str) -> str:
    known = ("address", "host", "name", "user", "port")
    try:
        fields = {
            (field, spec, conversion)
            for _, field, spec, conversion in Formatter().parse(text)
            if field is not None
        }
    except ValueError:
        fields = {("", None, None)}
    if not fields <= {(name, "", None) for name in known}:
        raise ValueError("only {" + "}, {".join(known) + "} can be filled in")
    if "://" not in text:
        raise ValueError("not a URI")
    return text


def _addresses(value: object) -> tuple[IPAddress, ...]:
    """A list of addresses and ranges ``first-last``, or one such, as single addresses."""
    entries = value if isinstance(value, list) else [value]
    found = tuple(address for entry in entries for address in _expanded(str(entry)))
    if len(set(found)) != len(found):
        raise ValueError("an address is listed twice")
    if not found:
        raise ValueError("no address")
    return found


def _expanded(entry: str) -> list[IPAddress]:
    first_text, dash, last_text = (part.strip() for part in entry.partition("-"))
    try:
        first = ip_address(first_text)
        last = ip_address(last_text) if dash else first
    except ValueError:
        raise ValueError(f"not an IP address or a range of them: {entry!r}") from None
    if type(first) is not type(last) or int(last) < int(first):
        raise ValueError(f"a range goes from a lower to a higher address: {entry!r}")
    if int(last) - int(first) >= MOST_ADDRESSES:
        raise ValueError(f"more than {MOST_ADDRESSES} addresses: {entry!r}")
    return [first + step for step in range(int(last) - int(first) + 1)]


def _ports(value: object) -> range:
    found = re.fullmatch(r"(\d{1,5})(?:\s*-\s*(\d{1,5}))?", str(value))
    first, last = (int(found[1]), int(found[2] or found[1])) if found else (0, 0)
    if not 1 <= first <= last <= 65535:
        raise ValueError("not a port range such as 10809-10899")
    return range(first, last + 1)


Text = Annotated[str, AfterValidator(_printable)]
Name = Annotated[str, _matching(NAME, "not a name (letters, digits, and _.- inside)")]
Number = Annotated[int, BeforeValidator(_number)]
Port = Annotated[Number, Field(ge=1, le=65535)]
Address = Annotated[Text, AfterValidator(_address)]
AddressOrName = Annotated[Text, AfterValidator(_address_or_name)]
LocalPath = Annotated[Path, BeforeValidator(_home)]
RemotePath = Annotated[PurePosixPath, BeforeValidator(_absolute)]
Ports = Annotated[range, PlainValidator(_ports)]
Addresses = Annotated[tuple[IPAddress, ...], BeforeValidator(_addresses)]
SingleAddress = Annotated[IPAddress, BeforeValidator(_ip)]
PeerUri = Annotated[Text, AfterValidator(_template)]
Target = Annotated[str, _matching(TARGET, "not an iSCSI name (iqn.2001-04.com.example:x)")]
JumpHost = Annotated[str, _matching(JUMP, "not [user@]host[:port]")]
JumpHosts = Annotated[tuple[JumpHost, ...], BeforeValidator(_listed)]
ProxyJump = Annotated[JumpHosts, BeforeValidator(_proxy_jump)]
Bridge = Annotated[str, _matching(BRIDGE, "not the name of a network interface")]
