"""Cache the results of slow builds, each under a hash of all inputs.

A build writes to a temporary name under a file lock. Only a complete result gets the final
name. So a final name always means a complete result. A build killed at any moment leaves only a
temporary folder or file. The next build of the same result removes the leftover.
"""

import hashlib
import os
import shutil
import uuid
from collections.abc import Callable
from pathlib import Path

from filelock import FileLock

from migqual.errors import LabError

_PARTIAL_PREFIX = ".half-"


def compute_key(*inputs: object) -> str:
    """Compute a key of 16 hex digits over all inputs.

    Args:
        *inputs: Strings, numbers, tuples of both, bytes, or paths of files. The contents of a
            file count.
    """
    digest = hashlib.sha256()
    for item in inputs:
        data = _encode_input(item)
        digest.update(f"{len(data)}:".encode())
        digest.update(data)
    return digest.hexdigest()[:16]


def _encode_input(item: object) -> bytes:
    """Encode the input as bytes. Files, bytes and other values never give the same result."""
    if isinstance(item, Path):
        return b"file " + item.read_bytes()
    return b"bytes " + item if isinstance(item, bytes) else repr(item).encode()


def ensure_cached(final_path: Path, build: Callable[[Path], None]) -> Path:
    """Return `final_path`, built with `build` if the path does not exist yet.

    Args:
        final_path: File or folder in the cache.
        build: Gets a new path in the same folder and creates a file or a folder at the path.

    Raises:
        LabError: The cache folder cannot be created, or `build` created no result.
        Exception: Any error of `build`, after the removal of the incomplete result.
    """
    if final_path.exists():
        return final_path
    _create_cache_folder(final_path.parent)
    with FileLock(final_path.parent / f".{final_path.name}.lock"):
        if final_path.exists():
            return final_path
        for stale_path in final_path.parent.glob(f"{_PARTIAL_PREFIX}{final_path.name}-*"):
            remove_path(stale_path)
        partial_path = (
            final_path.parent / f"{_PARTIAL_PREFIX}{final_path.name}-{uuid.uuid4().hex[:8]}"
        )
        try:
            build(partial_path)
            _flush_to_disk(partial_path)
            partial_path.rename(final_path)
        except BaseException:
            remove_path(partial_path)
            raise
    return final_path


def remove_path(path: Path) -> None:
    """Remove a file or folder as far as possible.

    A dying process may still write to a folder. So the function ignores errors in a folder.
    """
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _create_cache_folder(path: Path) -> None:
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise LabError(
            f"cache folder {path} cannot be created: {error.strerror}",
            remedy="set MIGQUAL_CACHE to a folder on a disk with space, or run as root",
        ) from error


def _flush_to_disk(path: Path) -> None:
    """Flush all data to disk before the rename. Raise `LabError` if the build has no result.

    After a power cut a name must not exist without data.
    """
    if not path.exists():
        raise LabError(f"the build of {path.name} ended without a result")
    # A rootfs has tens of thousands of files: a single sync is faster than an fsync per file.
    os.sync()
