"""Let the space of a folder on a host run out. The folder holds only images of one guest."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import PurePosixPath

from migqual.faults.injection import inject_commands
from migqual.hosts.host import Host
from migqual.hosts.journal import Journal

FILLER_FILE = "filler"


@contextmanager
def limit_space(
    journal: Journal, host: Host, folder: PurePosixPath, size_mib: int
) -> Iterator[None]:
    """Mount an empty file system of `size_mib` MiB on a folder during the block.

    The file system is in memory (tmpfs). The end of the block removes the file system with all its
    files.

    Args:
        journal: Journal in which the function records the fault before the mount, for the clean-up.
        host: The host of the folder.
        folder: A folder that only the guest of the test uses.
        size_mib: Size of the file system in MiB.

    Raises:
        CommandFailed: The host cannot mount the file system.
    """
    with inject_commands(
        journal,
        host,
        f"mount of {size_mib} MiB on {folder}",
        [("mount", "-t", "tmpfs", "-o", f"size={size_mib}M,mode=0755", "migqual", str(folder))],
        [("umount", "-l", str(folder))],
        lambda: host.shell.run_unchecked("mountpoint", "-q", folder).status == 0,
    ):
        yield


@contextmanager
def fill_space(journal: Journal, host: Host, folder: PurePosixPath) -> Iterator[None]:
    """Fill the file system of a folder during the block, so that no more data fits.

    Use the function only inside `limit_space`: it fills the whole file system.

    Raises:
        InconclusiveError: The file system still has free space.
    """
    filler = folder / FILLER_FILE
    # dd ends with an error when the space runs out, as wanted
    fill_script = 'dd if=/dev/zero of="$1" bs=1M 2>/dev/null; true'
    with inject_commands(
        journal,
        host,
        f"file {filler} that fills the file system",
        [("sh", "-c", fill_script, "sh", str(filler))],
        [("rm", "-f", "--", str(filler))],
        lambda: host.shell.run("stat", "-f", "-c", "%a", folder).stdout.strip() == "0",
    ):
        yield
