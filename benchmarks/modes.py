"""Peak memory and time of a training step by gradient mode, a suite of :mod:`benchmarks.solver`.

The field is the convolutional block with a kernel of its own for every sample, solved by rk4 in ever more steps. The
peak is what a process of its own needs beyond what it held after one short solve.
"""

from __future__ import annotations

import gc
import multiprocessing
import re
from collections.abc import Callable, Iterator
from pathlib import Path

from benchmarks import measure

MODES = ("direct", "checkpointed", "adjoint")
STEPS = (4, 16, 64)
BATCH, SIZE, FILTERS = 8, 14, 16


def step(mode: str, steps: int, seed: int) -> Callable:
    """A training step: forward and backward."""
    import torch

    from ncode import NCODE, OpenLoop, Solver
    from ncode.fields.conv import ConvBlock

    torch.manual_seed(seed)
    field = ConvBlock(1, SIZE, filters=FILTERS, activation="tanh")
    model = NCODE(field, gamma=OpenLoop(), solver=Solver("rk4", steps=steps, gradients=mode))
    x = torch.randn(BATCH, 1, SIZE, SIZE)

    def once() -> None:
        model.zero_grad(set_to_none=True)
        model(x).square().mean().backward()

    return once


def peak(mode: str, steps: int, seed: int) -> float:
    """MB beyond those held before, in a process of its own."""
    fork = multiprocessing.get_context("fork")
    receiver, sender = fork.Pipe(duplex=False)

    def run() -> None:
        step(mode, 1, seed)()
        once = step(mode, steps, seed)
        gc.collect()
        # The kernel begins to look for the peak anew.
        Path("/proc/self/clear_refs").write_text("5")
        before = _held("VmRSS")
        once()
        sender.send(_held("VmHWM") - before)

    process = fork.Process(target=run)
    process.start()
    found = receiver.recv()
    process.join()
    return found


def _held(what: str) -> float:
    """MB of this process."""
    return int(re.search(rf"{what}:\s+(\d+) kB", Path("/proc/self/status").read_text())[1]) / 1000


def memory(rounds: int, seed: int) -> Iterator[tuple[dict, dict]]:
    """The three modes, from few to many steps."""
    # All of them first: what this process frees, a process that it makes would use again.
    peaks = {(mode, steps): peak(mode, steps, seed) for steps in STEPS for mode in MODES}
    for steps in STEPS:
        taken = measure.interleaved({mode: step(mode, steps, seed) for mode in MODES}, rounds)
        for mode in MODES:
            middle, low, high = measure.spread(taken[mode])
            ratio, least, most = measure.ratios(taken[mode], taken["direct"])
            config = {"suite": "memory", "way": mode, "kind": "convolutional block", "fields": "near", "seed": seed}
            times = {"seconds": middle, "low": low, "high": high, "megabytes": peaks[mode, steps]}
            yield {**config, "size": steps}, {**times, "ratio": ratio, "ratio_low": least, "ratio_high": most}
