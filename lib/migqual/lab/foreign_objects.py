"""Create foreign objects on lab hosts, and find the foreign objects that a run changed.

A foreign object is a guest or a file that does not belong to migqual. Real hosts have such objects.
The module does not log in to a lab host. The module reads the processes of the lab host in the
/proc folder of the machine, and the files in the overlayfs upper layer of the lab host.
"""

import hashlib
from collections.abc import Mapping
from functools import partial
from pathlib import Path

from migqual.deadline import Deadline
from migqual.lab import cgroup
from migqual.lab.layout import SCRATCH_FOLDER, HostLayout, LabLayout

FOREIGN_GUEST = "foreign"
_START_SECONDS = 30.0
_DISK_BYTES = 2**20
_DISK_FILE = Path("/var/lib/libvirt/images/foreign.img")
_DEFINITION_FILE = Path("/etc/libvirt/qemu/foreign.xml")
_SCRATCH_FILE = SCRATCH_FOLDER / "somebody" / "notes.txt"
_DEFINITION = f"""\
<domain type='qemu'>
  <name>{FOREIGN_GUEST}</name>
  <uuid>6f6e6520-7468-4174-8973-206e6f742075</uuid>
  <memory unit='MiB'>32</memory>
  <vcpu>1</vcpu>
  <os><type arch='x86_64'>hvm</type></os>
  <devices>
    <disk type='file' device='disk'>
      <driver name='qemu' type='raw'/>
      <source file='{_DISK_FILE}'/>
      <target dev='vda' bus='virtio'/>
    </disk>
  </devices>
</domain>
"""


def write_foreign_objects(upper: Path) -> None:
    """Write a guest and a file that do not belong to migqual into the upper layer of a lab host.

    Call the function before the boot of the host: libvirt starts the guest during the boot. The
    disk of the guest is not bootable, so the guest stays in the firmware and causes no load.
    """
    definition_file = _locate(upper, _DEFINITION_FILE)
    _write_file(definition_file, _DEFINITION.encode())
    autostart_link = definition_file.parent / "autostart" / definition_file.name
    autostart_link.parent.mkdir(exist_ok=True)
    autostart_link.symlink_to(_DEFINITION_FILE)
    _write_file(_locate(upper, _DISK_FILE), bytes(_DISK_BYTES))
    _write_file(_locate(upper, _SCRATCH_FILE), b"not a file of the suite\n")


def wait_for_foreign_guests(layout: LabLayout) -> None:
    """Wait until a foreign guest runs on each lab host with `has_foreign_guest` in `quirks`.

    A foreign guest is a guest that does not belong to migqual.

    Raises:
        TimedOut: A foreign guest does not run after 30 s.
    """
    deadline = Deadline(_START_SECONDS)
    for host in layout.hosts:
        if host.spec.quirks.has_foreign_guest:
            deadline.wait_for(
                f"start of the foreign guest on host {host.name}",
                partial(_find_guest_process, host),
            )


def read_foreign_objects(layout: LabLayout) -> dict[str, str]:
    """Read the state of the guests and files in a running lab that do not belong to migqual.

    Returns:
        The state of each guest and file by ``HOST: OBJECT``. The state of a guest is the id and
        the start time of the QEMU process. The state of a file is the owner, the mode and the
        checksum. The result is empty if the lab has no such objects.
    """
    states = {}
    for host in layout.hosts:
        if host.spec.quirks.has_foreign_guest:
            states[f"{host.name}: guest {FOREIGN_GUEST}"] = _find_guest_process(host)
            for path in (_DISK_FILE, _DEFINITION_FILE, _SCRATCH_FILE):
                states[f"{host.name}: {path}"] = _read_file_state(_locate(host.upper, path))
    return states


def find_changed_objects(before: Mapping[str, str], after: Mapping[str, str]) -> list[str]:
    """List the names in `before` whose value in `after` is missing or different."""
    return [name for name, state in before.items() if after.get(name) != state]


def _find_guest_process(host: HostLayout) -> str:
    """Return PID and start time of the QEMU process of guest `foreign`, or "" if none runs."""
    for pid in sorted(cgroup.list_group_pids(host.cgroup_name)):
        try:
            command_line = Path(f"/proc/{pid}/cmdline").read_bytes()
            stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8")
        except (FileNotFoundError, ProcessLookupError):
            continue
        if f"guest={FOREIGN_GUEST},".encode() in command_line:
            return f"process {pid}, started {stat.rpartition(')')[2].split()[19]} ticks after boot"
    return ""


def _read_file_state(file: Path) -> str:
    try:
        status = file.stat()
        checksum = hashlib.sha256(file.read_bytes()).hexdigest()
    except FileNotFoundError:
        return "missing"
    return f"{status.st_uid}:{status.st_gid} {status.st_mode:o} {checksum}"


def _locate(upper: Path, path: Path) -> Path:
    return upper / path.relative_to("/")


def _write_file(file: Path, contents: bytes) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(contents)
    file.chmod(0o644)
