"""Define types for the values in a topology file."""

import re
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator

# A name becomes part of network interface names, which can have at most 15 characters.
HOST_NAME_PATTERN = re.compile(r"[a-z][a-z0-9]{0,8}")


def _check_host_name(name: str) -> str:
    if not HOST_NAME_PATTERN.fullmatch(name):
        raise ValueError(
            "a host name is 1 to 9 lower-case letters and digits, and begins with a letter"
        )
    return name


HostName = Annotated[str, AfterValidator(_check_host_name)]


def _check_absolute(path: Path) -> Path:
    if not path.is_absolute() or ".." in path.parts:
        raise ValueError("the path must be absolute and must not contain '..'")
    return path


AbsolutePath = Annotated[Path, AfterValidator(_check_absolute)]
