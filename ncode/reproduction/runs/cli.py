"""Runs from the command line: ``python -m ncode.reproduction.runs record pattern_memorisation [RECORDING ...]``.

Finished runs are kept and found again, so an interrupted recording goes on where it stopped, and what is finished is
written after every run: a recording that was cut short is a smaller one, not none.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Sequence
from pathlib import Path

import torch
from threadpoolctl import threadpool_limits

from ncode.reproduction.runs import cluster, verify
from ncode.reproduction.runs.copies import Copies
from ncode.reproduction.runs.experiment import Experiment, named
from ncode.reproduction.runs.queue import DEVICES, RECORDING_EXPERIMENTS, Entry, entries, table
from ncode.reproduction.runs.work import collect, put, work
from ncode.reproduction.runs.work import rehearse as rehearsed

THREADS = 1
"""Of a recording's runs, as of a notebook's (``ncode.reproduction.publishing.execute.ENVIRONMENT``)."""

SHOWN = 20
"""Metrics of a run that are worth a line; of more, their number is told."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Do what the command line asks for."""
    parser = argparse.ArgumentParser(prog="python -m ncode.reproduction.runs", description=__doc__)
    commands = parser.add_subparsers(required=True)
    recorder = commands.add_parser("record", help="make an experiment's recordings")
    recorder.add_argument("experiment", help="such as pattern_memorisation or annuli.steering")
    recorder.add_argument("recordings", nargs="*", help="which of its recordings; all where none is named")
    recorder.add_argument("--first", type=int, metavar="N", help="only the first N runs of every recording")
    recorder.set_defaults(command=lambda chosen: record(chosen.experiment, chosen.recordings, chosen.first))
    one = commands.add_parser("one", help="make one planned run, and keep it")
    one.add_argument("experiment")
    one.add_argument("recording")
    one.add_argument("index", type=int)
    one.set_defaults(command=lambda chosen: make(chosen.experiment, chosen.recording, chosen.index))
    shown = commands.add_parser("queue", help="show every planned run: what is left, what it takes, what it decides")
    shown.add_argument("--by", choices=("recording", "claim"), default="recording")
    shown.add_argument("--write", type=Path, metavar="FILE", help="write it as the configuration of workflow/queue.smk")
    shown.add_argument("--device", choices=DEVICES, default="cuda", help="of the jobs that are written")
    shown.add_argument("--only", action="append", metavar="RECORDING", help="write this alone; may be repeated")
    shown.add_argument("--first", type=int, metavar="N", help="write only the first N runs of every recording")
    shown.add_argument("--finished", action="store_true", help="write finished runs, too")
    shown.set_defaults(command=lambda chosen: submit(chosen) if chosen.write else show(chosen.by))
    worker = commands.add_parser("work", help="make planned runs, the most valuable first, until the time is used")
    worker.add_argument("--minutes", type=float, required=True)
    worker.add_argument("--device", choices=DEVICES, default="cpu")
    worker.add_argument("--jobs", type=int, default=1, help="runs side by side")
    worker.add_argument("--only", action="append", metavar="RECORDING", help="this recording alone; may be repeated")
    worker.add_argument(
        "--keep", type=Path, metavar="FOLDER", help="go on from the copies there, and keep copies there"
    )
    worker.add_argument("--dry-run", action="store_true", help="only say what would start, and what it would reach")
    worker.set_defaults(
        command=lambda chosen: (
            rehearse(chosen.minutes, chosen.device, chosen.jobs, chosen.only)
            if chosen.dry_run
            else take(chosen.minutes, chosen.device, chosen.jobs, chosen.only, chosen.keep)
        )
    )
    collector = commands.add_parser("collect", help="put the finished runs that lie here into their recordings")
    collector.add_argument("--only", action="append", metavar="RECORDING", help="this recording alone")
    collector.set_defaults(command=lambda chosen: gather(chosen.only))
    verifier = commands.add_parser("verify", help="check finished runs and recordings")
    verifier.add_argument("--recompute", type=int, default=0, metavar="N", help="compute N runs' metrics again")
    verifier.set_defaults(command=lambda chosen: check(chosen.recompute))
    commands.add_parser("seal", help="list the recordings' checksums").set_defaults(command=lambda _: verify.seal())
    chosen = parser.parse_args(arguments)
    # As a notebook runs: the number of threads is a part of a run's identity.
    torch.set_num_threads(THREADS)
    with threadpool_limits(THREADS):
        chosen.command(chosen)


def make(experiment: str, recording: str, index: int) -> None:
    """Make one planned run: what a worker's process does."""
    found = named(experiment)
    run = found.run(found.planned()[recording].configs()[index])
    print(f"{recording}:{index}: {run.provenance['seconds']:.0f} s", flush=True)


def _queue(only: Sequence[str] | None = None) -> list[Entry]:
    return entries(map(named, RECORDING_EXPERIMENTS), only=only)


def show(by: str = "recording") -> None:
    """Print the queue as a table."""
    rows = table(_queue(), None if by == "recording" else lambda entry: entry.worth.decides or ["–"])
    head = ["", by, "decides", "runs left", *(f"hours, {device}" for device in DEVICES)]
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    for row in (head, *rows):
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def submit(chosen: argparse.Namespace) -> None:
    """Write the queue as jobs of a cluster."""
    queue = [entry for entry in _queue(chosen.only) if chosen.first is None or entry.index < chosen.first]
    number = cluster.write(chosen.write, queue, chosen.device, chosen.finished)
    print(f"{number} runs -> {chosen.write}")


def gather(only: Sequence[str] | None) -> None:
    """Put what is finished here into its recordings."""
    for name in collect(_queue(only)):
        print(f"recorded {name}")


def take(minutes: float, device: str, jobs: int, only: Sequence[str] | None = None, folder: Path | None = None) -> None:
    """Work on the queue, and say what became of it. Looking through the queue counts as work.

    Args:
        folder: where copies are kept, and where work goes on from.
    """
    end = time.monotonic() + 60 * minutes
    copies = Copies(folder) if folder else None
    if copies:
        print(f"took up {copies.take_up()} runs from {folder}")
    queue = _queue(only)
    if copies:
        for name in collect(queue):
            print(f"recorded {name}")
    outcome = work(queue, end - time.monotonic(), device, jobs, copies=copies)
    print(f"finished {len(outcome.finished)}, stopped {len(outcome.stopped)}, failed {len(outcome.failed)}")


def rehearse(minutes: float, device: str, jobs: int, only: Sequence[str] | None = None) -> None:
    """Say which runs a worker would start, and how far each would come; nothing is made."""
    found = rehearsed(_queue(only), 60 * minutes, device, jobs)
    for one in found:
        takes = "?" if one.takes is None else f"{one.takes:.0f}"
        far = "not known" if one.share is None else "finishes" if one.share == 1 else f"reaches {one.share:.0%}"
        print(f"{one.entry.name}: starts after {one.start:.0f} s, takes {takes} s, {far}")
    print(f"{len(found)} would start, {sum(one.share == 1 for one in found)} of them finish in {minutes:g} minutes")


def check(recompute: int) -> None:
    """Print everything that is wrong, and exit with 1 where something is."""
    problems = verify.problems(recompute)
    print("\n".join(problems) or "Everything is as it was written.")
    if problems:
        raise SystemExit(1)


def record(name: str, wanted: Sequence[str] = (), first: int | None = None) -> None:
    """Run what the experiment called ``name`` plans, and write one file for each recording.

    Args:
        wanted: which of its plans; all where none is named.
        first: how many runs of every recording; all where nothing is said.
    """
    os.environ.setdefault("TQDM_DISABLE", "1")
    experiment = named(name)
    # As a notebook runs: the number of threads is a part of a run's identity.
    torch.set_num_threads(THREADS)
    with threadpool_limits(THREADS):
        _record(experiment, wanted, first)


def _record(experiment: Experiment, wanted: Sequence[str], first: int | None) -> None:
    plans = experiment.planned()
    for recording in wanted or plans:
        configs = plans[recording].configs()[:first]
        for k, config in enumerate(configs):
            facts = experiment.run(config)
            path = put(facts, recording)
            made = f"{facts.metrics}" if len(facts.metrics) <= SHOWN else f"{len(facts.metrics)} metrics"
            seconds = facts.provenance["seconds"]
            print(f"{recording} {k + 1}/{len(configs)}: {made}, {seconds:.0f} s -> {path}", flush=True)
