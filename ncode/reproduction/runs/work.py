"""A worker: it takes entries of the queue in their order until its time is used, several side by side.

Each run is a process of its own, which keeps its checkpoint. When the time is over, what still runs is stopped; whoever
works on the queue next goes on from there, and ends in the same bits. A run belongs to one process at a time, whichever
worker started it: it holds the run's lock. After every finished run its recording is written.
"""

from __future__ import annotations

import heapq
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock

from ncode.reproduction.runs import recordings, verify
from ncode.reproduction.runs.copies import Copies
from ncode.reproduction.runs.experiment import Run, root
from ncode.reproduction.runs.queue import FINISHED, PARTIAL, Entry, key, left

REACHABLE = 0.25
"""The share of a run after which a checkpoint is sure to have been kept: an entry is started only when that fits."""

GRACE = 5.0
"""Seconds that a stopped run has to end by itself."""


@dataclass
class Outcome:
    """What became of a worker's entries, by name."""

    finished: list[str]
    stopped: list[str]
    failed: list[str]


def fits(entry: Entry, device: str, seconds: float | int, jobs: int = 1) -> bool:
    """Whether an entry reaches at least its first checkpoint on ``device`` in so many seconds, ``jobs`` side by side.

    An entry of which nothing is known is given the benefit of the doubt.
    """
    known = entry.seconds(device, jobs)
    share = 0.0 if entry.state == PARTIAL else REACHABLE
    return known is None or share * known <= seconds


@dataclass(frozen=True)
class Rehearsed:
    """An entry that a worker would start.

    Attributes:
        start: seconds after the worker's.
        takes: seconds that it takes side by side with the others; ``None`` where nothing is known.
        share: how much of it is made before the time is over, at most 1; ``None`` where nothing is known.
    """

    entry: Entry
    start: float
    takes: float | None
    share: float | None


def rehearse(queue: Sequence[Entry], seconds: float | int, device: str = "cpu", jobs: int = 1) -> list[Rehearsed]:
    """The entries that :func:`work` would start, in order, by what is known of their seconds.

    An entry of which nothing is known is taken to need all of the time. A partial one is taken to begin anew.
    """
    waiting, free, found = left(queue), [0.0] * jobs, []
    while (start := heapq.heappop(free)) < seconds and (entry := _next(waiting, device, seconds - start, jobs)):
        waiting.remove(entry)
        takes = entry.seconds(device, jobs)
        share = None if takes is None else min(1.0, (seconds - start) / takes if takes else 1.0)
        found.append(Rehearsed(entry, start, takes, share))
        heapq.heappush(free, seconds if takes is None else start + takes)
    return found


def environment(device: str) -> dict[str, str]:
    """What a run's process is told: one thread, no bars, and a GPU only where it was asked for."""
    hidden = {} if device == "cuda" else {"CUDA_VISIBLE_DEVICES": ""}
    threads = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "TQDM_DISABLE": "1"}
    return {**os.environ, **threads, **hidden}


def start(entry: Entry, device: str) -> subprocess.Popen:
    """The process that makes one run."""
    command = [sys.executable, "-m", "ncode.reproduction.runs", "one", entry.experiment.name, entry.recording]
    log = root() / "log" / f"{entry.recording}-{entry.index}.txt"
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("a") as kept:
        return subprocess.Popen(
            [*command, str(entry.index)], stdout=kept, stderr=subprocess.STDOUT, env=environment(device)
        )


def work(
    queue: Sequence[Entry],
    seconds: float | int,
    device: str = "cpu",
    jobs: int = 1,
    tell: Callable[[str], None] = print,
    begin: Callable[[Entry, str], subprocess.Popen] = start,
    copies: Copies | None = None,
) -> Outcome:
    """Take entries of ``queue`` in order until ``seconds`` are over, ``jobs`` at a time.

    A worker that is asked to end (SIGTERM, or Ctrl-C) stops its runs as when the time is over.

    Args:
        tell: is given a line for whatever happens.
        begin: starts a run's process.
        copies: keeps what is made in another folder.
    """
    end = time.monotonic() + seconds
    waiting = left(queue)
    running: list[tuple[Entry, subprocess.Popen]] = []
    outcome = Outcome([], [], [])
    with _asked_to_end() as asked:
        while True:
            for entry, process in list(running):
                if process.poll() is not None:
                    running.remove((entry, process))
                    _reap(entry, process.returncode, outcome, tell, copies)
            if copies:
                copies.look()
            rest = 0.0 if asked else end - time.monotonic()
            while len(running) < jobs and rest > 0 and (entry := _next(waiting, device, rest, jobs)):
                waiting.remove(entry)
                running.append((entry, begin(entry, device)))
                tell(f"started {entry.name}")
            if rest <= 0 or not running:
                break
            time.sleep(min(0.2, max(rest, 0.0)))
        for entry, process in running:
            _stop(process)
            outcome.stopped.append(entry.name)
            tell(f"stopped {entry.name}: it goes on from its checkpoint next time")
        if copies:
            copies.look(last=True)
    return outcome


@contextmanager
def _asked_to_end() -> Iterator[list[int]]:
    """The signals that have asked this process to end, in place of its end."""
    asked: list[int] = []
    numbers = (signal.SIGTERM, signal.SIGINT) if threading.current_thread() is threading.main_thread() else ()
    earlier = {number: signal.signal(number, lambda which, frame: asked.append(which)) for number in numbers}
    try:
        yield asked
    finally:
        for number, handler in earlier.items():
            signal.signal(number, handler)


def _next(waiting: Sequence[Entry], device: str, seconds: float | int, jobs: int) -> Entry | None:
    return next((entry for entry in waiting if fits(entry, device, seconds, jobs)), None)


def _reap(entry: Entry, code: int, outcome: Outcome, tell: Callable[[str], None], copies: Copies | None) -> None:
    if code == 0:
        outcome.finished.append(entry.name)
        try:
            path = keep(entry)
        except ValueError as error:
            # The run lies finished, and the others need not end because its recording is too large.
            tell(f"finished {entry.name}, not recorded: {error}")
            return
        tell(f"finished {entry.name} -> {path}")
        if copies:
            copies.recording(path)
    else:
        outcome.failed.append(entry.name)
        tell(f"failed {entry.name}: see {root() / 'log'}")


def _stop(process: subprocess.Popen) -> None:
    process.terminate()
    try:
        process.wait(GRACE)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def keep(entry: Entry) -> Path:
    """Write the entry's finished run into its recording (:func:`put`)."""
    return put(entry.experiment.run(entry.config), entry.recording)


def put(run: Run, recording: str) -> Path:
    """Write a finished run into ``recording``, in the plan's place, and its checksum; what others recorded stays."""
    path = recordings.folder() / f"{recording}.json"
    with FileLock(f"{path}.lock"):
        order = {key(c): k for k, c in enumerate(run.experiment.planned()[recording].configs())}
        recordings.add(recording, run, lambda config: order.get(key(config), len(order)))
        verify.seal(path.parent, only=path.name)
    return path


def collect(queue: Sequence[Entry]) -> list[str]:
    """Put the finished runs that lie here into their recordings, where a configuration's run is not recorded yet.

    A cluster's jobs, and a worker that was killed, leave such runs.

    Returns:
        The names of the entries.
    """
    recorded = {name: {key(run.config) for run in recordings.find(name)} for name in {one.recording for one in queue}}
    missing = [one for one in queue if one.state == FINISHED and key(one.config) not in recorded[one.recording]]
    for entry in missing:
        keep(entry)
    return [entry.name for entry in missing]


def unfinished(queue: Sequence[Entry]) -> int:
    """How many entries are not finished."""
    return sum(entry.state != FINISHED for entry in queue)
