"""Prepare hosts for probes, and hold the resources and the permitted effects of the probes."""

import threading
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path, PurePosixPath

from migqual.hosts.host import Host
from migqual.hosts.journal import Journal, JournalEntry

_QEMU_WRITE_LOCK_OFFSET = 101


class ProbeMode(StrEnum):
    """The effects that probes may have on a guest.

    Attributes:
        WRITING: Probes may create files beside the guest's images, and may send commands to the
            QEMU monitor. The mode is only for guests that migqual created.
        READ_ONLY: Probes change nothing that the owner of the guest can notice. libvirt does not
            taint the domain.
    """

    WRITING = "writing"
    READ_ONLY = "read-only"


@dataclass
class ProbeContext:
    """The resources for probes on hosts.

    Attributes:
        journal: Journal for the files that probes create.
        payload_paths: Path of the payload (migqual's program) on each host, by host name.
        mode: The effects that the probes may have on guests.
    """

    journal: Journal
    payload_paths: Mapping[str, PurePosixPath]
    mode: ProbeMode = ProbeMode.WRITING
    _journal_lock: threading.Lock = field(default_factory=threading.Lock)

    def get_payload_path(self, host: Host) -> str:
        """Return the path of the payload, migqual's program, on the host."""
        return str(self.payload_paths[host.name])

    def is_locked(self, host: Host, path: PurePosixPath | str, offset: int) -> bool:
        """Return whether the host sees a lock of another process on a byte of the file.

        Args:
            host: Host with access to the file.
            path: Path of the file on the host.
            offset: Offset of the byte.
        """
        command = (self.get_payload_path(host), "lock", "query", str(path), str(offset))
        return host.shell.run_unchecked(*command).stdout.strip() == "seen"

    def is_written_by_qemu(self, host: Host, path: PurePosixPath | str) -> bool:
        """Return whether a QEMU has the image open for writing.

        Such a QEMU locks a byte of the image: RAW_LOCK_PERM_BASE plus the bit number of
        BLK_PERM_WRITE, in QEMU's block/file-posix.c.
        """
        return self.is_locked(host, path, _QEMU_WRITE_LOCK_OFFSET)

    def record_probe_file(self, host: Host, path: PurePosixPath) -> JournalEntry:
        """Record a probe file in the journal of the run before the file is created."""
        with self._journal_lock:
            undo_commands = [("rm", "-f", "--", str(path))]
            return self.journal.record(host.name, "probe", str(path), undo_commands)

    def record_removal(self, entry: JournalEntry) -> None:
        """Record the removal of a probe file in the journal of the run."""
        with self._journal_lock:
            self.journal.record_removal(entry)


def generate_token_name() -> str:
    """Generate a unique name for a probe file or a folder."""
    return f"mq-probe-{uuid.uuid4().hex[:16]}"


@contextmanager
def staged_payload(
    hosts: tuple[Host, ...], journal: Journal, payload: Path, probe_mode: ProbeMode
) -> Iterator[ProbeContext]:
    """Upload the payload (migqual's program) to `hosts`, and remove the payload after the block.

    Args:
        hosts: The hosts to probe.
        journal: Journal for the created folders.
        payload: Path of the payload on the controller.
        probe_mode: The effects that the probes may have on guests.

    Yields:
        The context for probes on the hosts.
    """
    folder_name = generate_token_name()
    staged_folders: list[tuple[Host, JournalEntry]] = []
    try:
        for host in hosts:
            host.shell.open()  # an unreachable host raises here, before the journal entry
            folder = host.entry.scratch / folder_name
            undo_commands = [("rm", "-rf", "--", str(folder))]
            staged_folders.append(
                (host, journal.record(host.name, "folder", str(folder), undo_commands))
            )
            host.shell.upload_file(payload, folder / "payload", mode=0o755)
        payload_paths = {host.name: host.entry.scratch / folder_name / "payload" for host in hosts}
        yield ProbeContext(journal, payload_paths, probe_mode)
    finally:
        for host, entry in reversed(staged_folders):
            for argv in entry.undo:
                host.shell.run(*argv)
            journal.record_removal(entry)
