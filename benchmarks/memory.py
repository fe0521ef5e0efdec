"""Time and memory of one training episode of pattern memorisation: ``python benchmarks/memory.py``.

Rules: one episode at n = 1000 and m = 5, forward and backward, float32, one thread, the same episode and μ for all.
The forms are measured in turn, round by round, in one process and after a warm-up, so that whatever else the machine
does meets all of them; a ratio is taken within a round, and its median and range over the rounds are what counts.
``rk4`` has one step a presentation in both forms and ``dopri5`` a tolerance of 1e-3. The direct forms solve the tuple
(x, θ), by this library's engine, and rk4 once by torchdiffeq's. Peak memory is a process of its own that trains for
three episodes with Adam, its imports included.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Iterable
from dataclasses import replace

import torch

from ncode.reproduction.models.memory import HebbianNCODE, Task, episodes
from ncode.reproduction.runs import provenance
from ncode.solvers import hebbian

FORMS = {
    "low-rank rk4": {},
    "direct rk4": {"direct": True},
    "direct rk4, torchdiffeq": {"direct": True, "backend": "torchdiffeq"},
    "dopri5": {"method": "dopri5"},
}


def learner(task: Task, options: dict) -> HebbianNCODE:
    torch.manual_seed(0)
    given = {name: value for name, value in options.items() if name != "backend"}
    model = HebbianNCODE(task, **given)
    model.solver = replace(model.solver, backend=options.get("backend", "ncode"))
    return model


def episode(model: HebbianNCODE, stimuli: torch.Tensor, target: torch.Tensor) -> float:
    """Seconds of one forward and backward."""
    start = time.perf_counter()
    model.zero_grad(set_to_none=True)
    (model(stimuli) - target).square().mean().backward()
    return time.perf_counter() - start


def times(task: Task, rounds: int, allocator: bool, forms: Iterable[str] = FORMS) -> dict:
    """Seconds by form, and their ratios to the low-rank form within each round."""
    if allocator:
        hebbian.keep_freed_memory()
    batch = episodes(task, 1, 0)
    models = {name: learner(task, FORMS[name]) for name in forms}
    for model in models.values():
        episode(model, *batch)
    seconds = {name: [] for name in models}
    for _ in range(rounds):
        for name, model in models.items():
            seconds[name].append(episode(model, *batch))
    fast = seconds["low-rank rk4"]
    ratios = {name: [b / a for a, b in zip(fast, row, strict=True)] for name, row in seconds.items()}
    return {name: {"ratio": _spread(ratios[name]), "seconds": _spread(seconds[name])} for name in models}


def peak(task: Task, options: dict) -> float:
    """Peak memory of this process after three training episodes, in MB; its own start included."""
    hebbian.keep_freed_memory()
    model = learner(task, options)
    optimiser = torch.optim.Adam(model.parameters(), lr=3e-4, fused=True)
    batch = episodes(task, 1, 0)
    for _ in range(3):
        episode(model, *batch)
        optimiser.step()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _spread(values: list[float]) -> list[float]:
    return [float(f"{v:.3g}") for v in (statistics.median(values), min(values), max(values))]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bits", type=int, default=1000)
    parser.add_argument("--patterns", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--part", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    task = Task(arguments.bits, arguments.patterns)
    sizes = ["--bits", str(task.bits), "--patterns", str(task.patterns), "--rounds", str(arguments.rounds)]
    if arguments.part in ("kept", "returned"):
        print(json.dumps(times(task, arguments.rounds, allocator=arguments.part == "kept")))
    elif arguments.part:
        print(json.dumps(peak(task, FORMS[arguments.part])))
    else:
        report = {"task": f"n = {task.bits}, m = {task.patterns}", **provenance.here()}
        for part in ("kept", "returned", "low-rank rk4", "direct rk4"):
            done = subprocess.run([sys.executable, __file__, "--part", part, *sizes], capture_output=True, check=True)
            report[{"kept": "allocator set", "returned": "allocator as it is"}.get(part, f"peak MB, {part}")] = (
                json.loads(done.stdout)
            )
        print(json.dumps(report, indent=1, ensure_ascii=False))


if __name__ == "__main__":
    main()
