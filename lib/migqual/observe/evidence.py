"""Pure: what explains a migration, as files."""

import csv
import io
import json
from typing import Any

from migqual.model.outcome import DiskSample, Outcome


def samples_csv(outcome: Outcome) -> str:
    """The job samples: s from the start to the answer, s that it took, then libvirt's fields."""
    names = sorted({name for sample in outcome.samples for name in sample.stats})
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(["at_s", "took_s", *names])
    for sample in outcome.samples:
        row = (sample.stats.get(name, "") for name in names)
        writer.writerow([f"{sample.at_s:.3f}", f"{sample.took_s:.3f}", *row])
    return out.getvalue()


def disks_csv(outcome: Outcome) -> str:
    """The progress of each disk that was copied: s from the start, bytes done and in all, rate in
    MiB/s since the sample before, phase."""
    lines = ["at_s,target,done,total,rate_mib_s,phase"]
    last: dict[str, DiskSample] = {}
    for sample in outcome.disks:
        before = last.get(sample.target, DiskSample(0.0, sample.target, 0, 0))
        seconds = sample.at_s - before.at_s
        rate = (sample.done - before.done) / 2**20 / seconds if seconds else 0.0
        phase = "mirror" if sample.mirrored else "copy"
        words = f"{sample.at_s:.3f},{sample.target},{sample.done},{sample.total},{rate:.1f},{phase}"
        lines.append(words)
        last[sample.target] = sample
    return "\n".join(lines) + "\n"


def gaps_csv(outcome: Outcome) -> str:
    """The gap list: start by the client's clock, length, resolution, all ms."""
    found = outcome.gaps.gaps if outcome.gaps else ()
    lines = [f"{gap.start_ms:.3f},{gap.length_ms:.3f},{gap.resolution_ms:g}" for gap in found]
    return "\n".join(["start_ms,length_ms,resolution_ms", *lines]) + "\n"


def events_json(outcome: Outcome) -> str:
    rows: list[dict[str, Any]] = [
        {
            "at_s": round(event.at_s, 4),
            "host": event.host,
            "name": event.name,
            "host_us": event.host_us,
            "detail": event.detail,
        }
        for event in outcome.events
    ]
    return json.dumps(rows, indent=1)
