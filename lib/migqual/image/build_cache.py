"""Store the results of slow builds in the cache, each under a hash of the inputs of the build.

A build holds a file lock and writes to a temporary name. Only a complete result gets the final
name. A killed build leaves only a file or folder with a temporary name. The next build of the
same result removes the leftover.
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
    """Compute a cache key of 16 hex digits, which is a hash over all inputs.

    Args:
        *inputs: Bytes, paths of files, or plain values such as text, numbers and tuples. For a
            path the contents of the file count, not the name.
    """
    digest = hashlib.sha256()
    for item in inputs:
        data = _encode_input(item)
        digest.update(f"{len(data)}:".encode())
        digest.update(data)
    return digest.hexdigest()[:16]


def _encode_input(item: object) -> bytes:
    """Encode an input of a cache key as bytes that also depend on the type of the input."""
    if isinstance(item, Path):
        return b"file " + item.read_bytes()
    return b"bytes " + item if isinstance(item, bytes) else repr(item).encode()


def ensure_cached(final_path: Path, build: Callable[[Path], None]) -> Path:
    """Call `build` if `final_path` does not exist yet, and return `final_path`.

    Args:
        final_path: File or folder in the cache.
        build: Function that creates a file or a folder at the given temporary path.
            `ensure_cached` then renames the result to `final_path`.

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
    """Remove a file, or a folder with all contents, if present.

    A killed process may still write to a folder for a moment. So the function ignores errors
    during the removal of a folder.
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
    """Flush the build result to disk. Raise `LabError` if the build created no file or folder.

    Without the flush the final name could exist after a power failure, but with incomplete data.
    """
    if not path.exists():
        raise LabError(f"the build ended without a result: {path} does not exist")
    # A rootfs has tens of thousands of files: a single sync is faster than an fsync per file.
    os.sync()
