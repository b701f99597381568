"""Render the samples, gaps and events of a migration as CSV and JSON. No side effects."""

import csv
import io
import json
from collections.abc import Iterable
from typing import Any

from migqual.model.guest_event import GuestEvent
from migqual.model.outcome import DiskSample, Outcome


def render_samples_csv(outcome: Outcome) -> str:
    """Render the job samples of a migration as CSV.

    The first column is the time from the start of the migration to libvirt's reply, in s. The
    second column is the duration of the query, in s. Each further column is a statistic of libvirt.
    """
    field_names = sorted({name for sample in outcome.job_samples for name in sample.stats.values})
    buffer = io.StringIO()
    writer = csv.writer(buffer)
    writer.writerow(["at_s", "took_s", *field_names])
    for sample in outcome.job_samples:
        row = (sample.stats.values.get(name, "") for name in field_names)
        writer.writerow([f"{sample.at_s:.3f}", f"{sample.query_s:.3f}", *row])
    return buffer.getvalue()


def render_disks_csv(outcome: Outcome) -> str:
    """Render the progress of each copied disk as CSV.

    The column `at_s` is the time since the start of the migration. The column `rate_mib_s` is the
    copy rate since the previous sample of the disk. The phase is `copy` until all blocks were
    copied once, then `mirror`.
    """
    lines = ["at_s,target,done,total,rate_mib_s,phase"]
    last_samples: dict[str, DiskSample] = {}
    for sample in outcome.disk_samples:
        previous = last_samples.get(sample.target, DiskSample(0.0, sample.target, 0, 0))
        elapsed_s = sample.at_s - previous.at_s
        rate_mib_s = (
            (sample.copied_bytes - previous.copied_bytes) / 2**20 / elapsed_s if elapsed_s else 0.0
        )
        phase = "mirror" if sample.is_mirrored else "copy"
        size_bytes = f"{sample.copied_bytes},{sample.total_bytes}"
        lines.append(f"{sample.at_s:.3f},{sample.target},{size_bytes},{rate_mib_s:.1f},{phase}")
        last_samples[sample.target] = sample
    return "\n".join(lines) + "\n"


def render_gaps_csv(outcome: Outcome) -> str:
    """Render the gaps in the guest's replies as CSV, with start, length and resolution in ms."""
    gaps = outcome.gap_report.gaps if outcome.gap_report else ()
    lines = [f"{gap.start_ms:.3f},{gap.length_ms:.3f},{gap.resolution_ms:g}" for gap in gaps]
    return "\n".join(["start_ms,length_ms,resolution_ms", *lines]) + "\n"


def render_events_json(events: Iterable[GuestEvent]) -> str:
    """Render the libvirt and QEMU events of a guest on all hosts as a JSON list."""
    rows: list[dict[str, Any]] = [
        {
            "at_s": round(event.at_s, 4),
            "host": event.host,
            "name": event.name,
            "host_us": event.host_clock_us,
            "detail": event.detail,
        }
        for event in events
    ]
    return json.dumps(rows, indent=1)
