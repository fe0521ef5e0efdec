"""How times are taken: interleaved in one process, after a warm-up; median and spread; threads and allocator set here.

Both change timings by factors, so that no other file sets either. Everything runs at one setting, its peers included.
"""

from __future__ import annotations

import gc
import os
import statistics
import time
from collections.abc import Callable, Mapping

THREADS = {"one": 1, "all": os.cpu_count() or 1}


def prepare(threads: int) -> None:
    """Give this process ``threads`` cores. To be called before anything imports JAX, which counts them once.

    The allocator stays as it is installed: glibc keeps what was freed once the first round has raised its threshold.
    """
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])
    os.environ["OMP_NUM_THREADS"] = os.environ["MKL_NUM_THREADS"] = str(threads)
    os.environ.setdefault("JAX_PLATFORMS", "cpu")
    if threads == 1:
        os.environ["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
    import torch

    torch.set_num_threads(threads)


def interleaved(
    ways: Mapping[str, Callable[[], object]], rounds: int = 20, least: float = 0.004
) -> dict[str, list[float]]:
    """Seconds of every way, round by round; within a round each runs as often as takes at least ``least`` seconds.

    Whatever else the machine does hits the ways of a round alike: ratios are to be taken within rounds. With one
    thread they are the processor's seconds, which a shared machine does not lengthen by waiting; otherwise the wall
    clock's.
    """
    clock = time.process_time if len(os.sched_getaffinity(0)) == 1 else time.perf_counter
    repeats = {}
    for name, way in ways.items():
        way()
        start = clock()
        way()
        repeats[name] = max(1, round(least / max(clock() - start, 1e-9)))
    taken: dict[str, list[float]] = {name: [] for name in ways}
    gc.collect()
    gc.disable()
    try:
        for _ in range(rounds):
            for name, way in ways.items():
                way()  # Its own data back into the caches that the way before has used.
                start = clock()
                for _ in range(repeats[name]):
                    way()
                taken[name].append((clock() - start) / repeats[name])
    finally:
        gc.enable()
    return taken


def spread(values: list[float]) -> tuple[float, float, float]:
    """Median, and the quartiles."""
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
    return middle, low, high


def ratios(theirs: list[float], ours: list[float]) -> tuple[float, float, float]:
    """Median and quartiles of how many times as long theirs takes, within each round."""
    return spread([a / b for a, b in zip(theirs, ours, strict=True)])
