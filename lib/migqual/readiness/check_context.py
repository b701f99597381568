"""Hold the journal of the checks, and name and remove the files with which checks test folders."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from uuid import uuid4

from migqual.hosts.host import Host
from migqual.hosts.journal import Journal
from migqual.inventory.entities import Inventory
from migqual.inventory.guest_size import GuestSize


@dataclass
class CheckContext:
    """The inventory under check, and the journal of the files that the checks make.

    Attributes:
        guest_sizes: Sizes of the guests that the run will test.
    """

    inventory: Inventory
    journal: Journal
    guest_sizes: tuple[GuestSize, ...] = ()
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @contextmanager
    def probe_file(self, host: Host, folder: PurePosixPath) -> Iterator[PurePosixPath]:
        """Yield the path of a new file in `folder`, recorded in the journal and not yet made.

        At the end the method removes the file.
        """
        path = folder / f"mq-check-{uuid4().hex}"
        undo_command = ("rm", "-f", "--", str(path))
        with self._lock:
            entry = self.journal.record(host.name, "probe", str(path), [undo_command])
        try:
            yield path
        finally:
            host.shell.run(*undo_command)
            with self._lock:
                self.journal.record_removal(entry)
