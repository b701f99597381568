"""A cache of costly things, each named after a hash of all that went into it.

A thing is built under a temporary name and renamed when it is whole, under a file lock: whoever
finds the final name has a whole thing, and a build killed at any moment leaves only a folder that
the next build of the same thing removes.
"""

import hashlib
import os
import shutil
import uuid
from collections.abc import Callable
from pathlib import Path

from filelock import FileLock

from migqual.errors import LabError

_HALF = ".half-"


def key_of(*inputs: object) -> str:
    """16 hex digits over `inputs`: strings, numbers, tuples of them, bytes, or files (contents)."""
    digest = hashlib.sha256()
    for item in inputs:
        data = _plain(item)
        digest.update(f"{len(data)}:".encode())
        digest.update(data)
    return digest.hexdigest()[:16]


def _plain(item: object) -> bytes:
    """Files, bytes and other values never give the same."""
    if isinstance(item, Path):
        return b"file " + item.read_bytes()
    return b"bytes " + item if isinstance(item, bytes) else repr(item).encode()


def ensure(final: Path, build: Callable[[Path], None]) -> Path:
    """Return `final`, made by `build` if it is not there yet.

    `build` gets a path that does not exist, in the same folder, and puts a file or a folder there.
    Raises whatever `build` raises, after removing what it left.
    """
    if final.exists():
        return final
    _folder(final.parent)
    with FileLock(final.parent / f".{final.name}.lock"):
        if final.exists():
            return final
        for stale in final.parent.glob(f"{_HALF}{final.name}-*"):
            discard(stale)
        half = final.parent / f"{_HALF}{final.name}-{uuid.uuid4().hex[:8]}"
        try:
            build(half)
            _settle(half)
            half.rename(final)
        except BaseException:
            discard(half)
            raise
    return final


def discard(path: Path) -> None:
    """Remove a file or folder, as far as a dying process that still writes there lets us."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _folder(path: Path) -> None:
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise LabError(
            f"cache folder {path} cannot be made: {error.strerror}",
            remedy="set MIGQUAL_CACHE to a folder on a disk with space, or run as root",
        ) from error


def _settle(path: Path) -> None:
    """Flush to disk before the rename: a name must not survive a power cut without its data."""
    if not path.exists():
        raise LabError(f"the build of {path.name} ended without a result")
    # A tree has tens of thousands of files; one sync costs less than as many fsync calls.
    os.sync()
