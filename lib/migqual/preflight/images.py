"""Images: what one is, and what lies where its copy is to be."""

import json
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any

from migqual.hosts.host import Host
from migqual.preflight.facts import Folder, Image, Kind, Target
from migqual.preflight.tools import Tools, had

HASH_SECONDS = 3600.0
_KINDS = {
    "regular file": Kind.FILE,
    "regular empty file": Kind.FILE,
    "block special file": Kind.DEVICE,
}


def describe(host: Host, path: str, kind: str = "") -> Image:
    """The image at `path` of `host`, also while a guest writes to it. Raises `HostError`.

    kind  its format, where that is known: what a guest wrote to a raw disk may look like another
    """
    known = ("-f", kind) if kind else ()
    done = host.shell.run("qemu-img", "info", "-U", "--output=json", *known, path)
    length = host.shell.attempt("stat", "-L", "-c", "%s", path)
    return read(json.loads(done.stdout), int(length.stdout) if length.status == 0 else 0)


def read(info: Mapping[str, Any], length: int) -> Image:
    """Pure: from `qemu-img info --output=json` and the length of the file."""
    kind, size = str(info["format"]), int(info["virtual-size"])
    allocated = int(info.get("actual-size", 0))
    return Image(
        format=kind,
        virtual_size=size,
        allocated=allocated,
        length=length,
        options=_options(info, kind, size, allocated, length),
        encrypted=bool(info.get("encrypted", False)),
        backing=str(info.get("full-backing-filename", info.get("backing-filename", ""))),
        backing_format=str(info.get("backing-filename-format", "")),
    )


def _options(
    info: Mapping[str, Any], kind: str, size: int, allocated: int, length: int
) -> dict[str, str]:
    found: dict[str, str] = {}
    if allocated >= size:
        found["preallocation"] = "falloc"
    elif kind == "qcow2" and length >= size:
        found["preallocation"] = "metadata"
    if kind != "qcow2":
        return found
    data = info.get("format-specific", {}).get("data", {})
    found["cluster_size"] = str(info.get("cluster-size", 65536))
    found["compat"] = str(data.get("compat", "1.1"))
    if data.get("lazy-refcounts"):
        found["lazy_refcounts"] = "on"
    if data.get("extended-l2"):
        found["extended_l2"] = "on"
    if data.get("compression-type", "zlib") != "zlib":
        found["compression_type"] = str(data["compression-type"])
    return found


def target(host: Host, path: str, tools: Tools) -> Target:
    """What `host` has at `path`, links followed."""
    folder = _folder(host, PurePosixPath(path).parent)
    done = host.shell.attempt("stat", "-L", "-c", "%F", path)
    if done.status != 0:
        return Target(path, Kind.ABSENT, folder)
    kind = _KINDS.get(done.stdout.strip(), Kind.OTHER)
    if kind is not Kind.FILE:
        return Target(path, kind, folder)
    used = tools.written_by_qemu(host, path)
    return Target(path, kind, folder, had(lambda: describe(host, path)), used)


def _folder(host: Host, folder: PurePosixPath) -> Folder:
    if host.shell.attempt("test", "-d", folder).status != 0:
        return Folder.MISSING
    writable = host.shell.attempt("test", "-w", folder).status == 0
    return Folder.WRITABLE if writable else Folder.READ_ONLY


def equal(source: Host, destination: Host, path: str) -> bool:
    """Whether both hosts have the same bytes at `path`. Raises `HostError`."""
    there = destination.shell.attempt("test", "-f", path)
    if there.status != 0:
        return False
    sums = {
        host.shell.run("sha256sum", path, seconds=HASH_SECONDS).stdout.split()[0]
        for host in (source, destination)
    }
    return len(sums) == 1
