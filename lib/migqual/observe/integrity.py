"""Memory and disks of a guest, checked from inside: every page, every acknowledged block."""

from typing import Any

from migqual.hosts.guest import MEMORY, Guest


def complaints(guest: Guest) -> list[str]:
    """What is wrong with the guest's memory and disks, in words; empty when nothing is.

    Checks while the loads go on: every page of the witness against what was written last, every
    block of every disk against what was acknowledged. Also that it is still the same boot.
    """
    written = guest.spec.written()
    disks = [("disk", "verify", target) for target in written]
    memory, *verified, status = guest.run_commands(
        [("memory", "verify", MEMORY), *disks, ("status",)]
    )
    found = _memory(memory)
    for target, answer in zip(written, verified, strict=True):
        found += _disk(target, answer)
    boot_id = status["boot_id"]
    if boot_id != guest.boot_id:
        found.append(f"the guest has booted again: boot id {guest.boot_id} became {boot_id}")
    return found


def _memory(answer: dict[str, Any]) -> list[str]:
    if not answer["checked"]:
        return ["memory: no page was checked"]
    bad = int(answer["bad"]) + int(answer["bad_dirtying"])
    first = (answer["bad_pages"] or answer["bad_pages_dirtying"])[:3]
    return [f"memory: {bad} bad pages of {answer['checked']}: {first}"] if bad else []


def _disk(target: str, answer: dict[str, Any]) -> list[str]:
    if not answer["checked"]:
        return [f"disk {target}: no block was checked"]
    found = []
    if answer["bad"]:
        found.append(f"disk {target}: {answer['bad']} bad blocks: {answer['bad_blocks'][:3]}")
    if answer["errors"]:
        errors, words = answer["errors"], answer["error_words"]
        found.append(f"disk {target}: {errors} I/O errors, the last: {words}")
    return found
