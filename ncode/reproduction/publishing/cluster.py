"""The tables of the page on clusters: what the queue's runs cost, and how long they take on so many GPUs."""

from __future__ import annotations

from collections.abc import Sequence

from ncode.reproduction.publishing.numbers import number
from ncode.reproduction.publishing.tables import list_table
from ncode.reproduction.runs import cluster, queue
from ncode.reproduction.runs.experiment import named
from ncode.reproduction.runs.queue import Entry

GPUS = (1, 2, 4, 8, 16, 32)


def costs(executed) -> str:
    """Two tables: every recording's runs, hours a run and hours in all; and the time that all of it takes by GPUs."""
    return written(queue.entries(map(named, queue.RECORDING_EXPERIMENTS)))


def written(entries: Sequence[Entry]) -> str:
    """The tables of :func:`costs` for these entries."""
    recordings = {entry.recording: [one for one in entries if one.recording == entry.recording] for entry in entries}
    rows = [[f"`{name}`", str(len(of)), str(len(queue.left(of))), *_hours(of)] for name, of in recordings.items()]
    caption = (
        "What every planned run costs, by recording, finished runs included. Hours that begin with ~ rest on an "
        "estimate; ? means that nothing is known on that device. Where runs share a GPU, a run's hours are its part of "
        "the GPU's."
    )
    head = ["recording", "runs", "left", *(f"{what}, {d}" for d in queue.DEVICES for what in ("hours a run", "hours"))]
    return "\n".join([list_table("tab-queue-costs", caption, head, rows), _times(entries)])


def _hours(of: Sequence[Entry]) -> list[str]:
    """Hours a run and hours of all runs, by device."""
    cells = []
    for device in queue.DEVICES:
        seconds = [entry.device_seconds(device) for entry in of]
        known = [one for one in seconds if one is not None]
        sign = "" if all(device in entry.measured for entry in of) else "~"
        cells += [f"{sign}{number(x / 3600)}" for x in (sum(known) / len(known), sum(known))] if known else ["?", "?"]
    return cells


def _times(entries: Sequence[Entry]) -> str:
    left = queue.left(entries)
    rows = []
    for gpus in GPUS:
        times = [cluster.hours_on(of, gpus) for of in (entries, left)]
        rows.append([str(gpus), *(number(time) for time in times)])
    unknown = [sum(cluster.least(entry) is None for entry in of) for of in (entries, left)]
    caption = (
        "Hours until the last run is finished, by the number of GPUs, each with a processor core beside it: for "
        f"everything that is planned ({len(entries)} runs) and for what is left ({len(left)}). Each run is counted on "
        "the device on which less is known to be needed. Runs of which nothing is known are left out: "
        f"{unknown[0]} of all, {unknown[1]} of what is left."
    )
    return list_table(
        "tab-queue-times", caption, ["GPUs", "all runs of known cost, hours", "runs left of known cost, hours"], rows
    )
