"""The queue on a cluster: what each recording's jobs need and which runs are left, for ``workflow/queue.smk``.

The workflow reads one file and imports nothing, because Snakemake reads a workflow again in every job. Jobs share the
folder of runs: a job that a node lost, or that its time limit ended, is submitted again and goes on from its
checkpoint, in the same bits.
"""

from __future__ import annotations

import heapq
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ncode.reproduction.runs import provenance
from ncode.reproduction.runs.files import write_atomically
from ncode.reproduction.runs.queue import DEVICES, LAST, Entry, left

MARGIN = 2.0
"""The time limit of a job in shares of what its run takes: another node may be slower."""

START = 10
"""Minutes that a job may take for all else: Python, the data, the file system."""

UNKNOWN = 240
"""Minutes that a job gets of whose run nothing is known. One that needs more goes on in its next try."""


def jobs(queue: Sequence[Entry], device: str, finished: bool = False) -> dict[str, dict[str, Any]]:
    """For every recording what one of its jobs needs on ``device``, and the places of the runs that are left.

    Args:
        finished: finished runs, too.
    """
    grouped: dict[str, list[Entry]] = {}
    for entry in queue if finished else left(queue):
        grouped.setdefault(entry.recording, []).append(entry)
    return {recording: _job(of, device) for recording, of in grouped.items()}


def _job(of: Sequence[Entry], device: str) -> dict[str, Any]:
    one = of[0]
    return {
        "experiment": one.experiment.name,
        "device": device,
        # Snakemake starts the larger first.
        "priority": LAST - one.worth.priority,
        "minutes": minutes(one, device),
        "memory": math.ceil(1000 * one.worth.memory),
        "gpus": int(device == "cuda"),
        # A job whose code changed since is made again, as its run is.
        "code": provenance.code_fingerprint(one.experiment.train.__module__),
        "runs": [entry.index for entry in of],
    }


def minutes(entry: Entry, device: str) -> int:
    """The time limit of an entry's job."""
    # A job has its device to itself, unless the cluster shares it out.
    known = entry.seconds(device)
    return UNKNOWN if known is None else START + math.ceil(MARGIN * known / 60)


def least(entry: Entry) -> float | None:
    """The seconds of the device that needs the fewest for an entry; ``None`` where nothing is known of any."""
    known = [entry.device_seconds(device) for device in DEVICES]
    return min((seconds for seconds in known if seconds is not None), default=None)


def hours_on(queue: Sequence[Entry], workers: int) -> float:
    """Hours until the last entry is finished where ``workers`` take them in their order, as soon as one is free.

    Entries of which nothing is known are left out.
    """
    free = [0.0] * workers
    for seconds in filter(None, map(least, queue)):
        heapq.heappush(free, heapq.heappop(free) + seconds)
    return max(free) / 3600


def write(path: Path, queue: Sequence[Entry], device: str, finished: bool = False) -> int:
    """Write :func:`jobs` as the configuration of ``workflow/queue.smk``, and say how many runs there are."""
    found = jobs(queue, device, finished)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, lambda temporary: temporary.write_text(json.dumps({"queue": found}, indent=1) + "\n"))
    return sum(len(job["runs"]) for job in found.values())
