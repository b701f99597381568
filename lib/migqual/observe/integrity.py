"""Check the contents of the guest's memory and disks with a program in the guest."""

from typing import Any

from migqual.hosts.guest import CHECKED_REGION, Guest
from migqual.observe.disk_violation import DiskViolation


def find_integrity_violations(guest: Guest) -> list[str]:
    """Find damage of the guest's memory and disks while the guest load continues to write.

    The program migqual-payload in the guest compares each page of a memory region with the last
    write to the page, and each disk block with the last acknowledged write to the block. The boot
    id of the guest must be unchanged.

    Args:
        guest: The running guest.

    Returns:
        A message for each damage. The list is empty if the guest is intact.
    """
    disk_targets = guest.spec.list_written_targets()
    disk_commands = [("disk", "verify", target) for target in disk_targets]
    memory_reply, *disk_replies, status = guest.run_payload_commands(
        [("memory", "verify", CHECKED_REGION), *disk_commands, ("status",)]
    )
    violations = _find_memory_violations(memory_reply)
    for target, reply in zip(disk_targets, disk_replies, strict=True):
        violations += _find_disk_violations(target, reply)
    boot_id = status["boot_id"]
    if boot_id != guest.boot_id:
        violations.append(
            f"the guest has rebooted: the boot id changed from {guest.boot_id} to {boot_id}"
        )
    return violations


def _find_memory_violations(reply: dict[str, Any]) -> list[str]:
    if not reply["checked"]:
        return ["memory: migqual-payload in the guest checked no page of the memory region"]
    bad_count = int(reply["bad"]) + int(reply["bad_dirtying"])
    first_bad_pages = (reply["bad_pages"] or reply["bad_pages_dirtying"])[:3]
    if not bad_count:
        return []
    page_counts = f"{bad_count} bad pages of {reply['checked']}"
    return [f"the memory has wrong contents: {page_counts}, the first are {first_bad_pages}"]


def _find_disk_violations(target: str, reply: dict[str, Any]) -> list[str]:
    if not reply["checked"]:
        return [f"disk {target}: migqual-payload in the guest checked no block"]
    texts = []
    if reply["bad"]:
        texts.append(
            f"disk {target} has wrong contents: {reply['bad']} bad blocks, the first are "
            f"{reply['bad_blocks'][:3]}"
        )
    if reply["errors"]:
        error_count, last_error = reply["errors"], reply["error_words"]
        texts.append(f"disk {target} had {error_count} I/O errors, the last error is: {last_error}")
    return [DiskViolation(target, text) for text in texts]
