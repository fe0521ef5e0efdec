"""What the solver set out to reach beyond single training steps, as suites of :mod:`benchmarks.solver`.

A ratio is to what the suite names: how many times as long torchdiffeq takes as a user's module here (``module``); this
library's processor time over that of ANODE's public code (``training``); a gradient mode's time over direct gradients'
(``block``); dopri5's time over the exact linear flow's (``flow``); and direct rk4's over the low-rank form's
(``episode``). All within rounds, interleaved in one process.
"""

from __future__ import annotations

import functools
import os
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from benchmarks import measure

Entries = Iterator[tuple[dict, dict]]
BEST = ("torchdiffeq", "torchdiffeq, worst-sample norm")
HORIZONS = (1.0, 10.0)
SEEDS = (0, 1)
EPISODE = (1000, 5)
DIRECT = ("low-rank rk4", "direct rk4", "direct rk4, torchdiffeq")


class Block(NamedTuple):
    """A convolutional block with kernels of its own for every sample."""

    batch: int
    channels: int
    size: int
    filters: int | None
    rounds: int


BLOCKS = {
    "16 channels, 8×8": Block(32, 16, 8, None, 10),
    "16 channels, 14×14": Block(32, 16, 14, None, 10),
    "Table 1, MNIST": Block(64, 1, 28, 50, 2),
    "Table 1, CIFAR-10": Block(64, 3, 32, 50, 2),
}
MODES = {"direct": "direct", "checkpointed": "direct", "adjoint": "adjoint", "Appendix B": "state"}


def module(rounds: int, seed: int) -> Entries:
    """A user's module as field, beside torchdiffeq, as exact as ours."""
    from benchmarks import peers
    from benchmarks.ours import ncode
    from benchmarks.problems import KINDS, case
    from benchmarks.solver import TOLERANCE, as_good, error, exact_end

    for kind in KINDS:
        for horizon in HORIZONS:
            for fields in ("near", "far"):
                problem = case(kind, fields, seed=seed, horizon=horizon)
                exact = exact_end(problem)
                made = {"ncode": ncode(problem, TOLERANCE, custom=True)}
                target = error(made["ncode"], exact)
                facts = {"ncode": {"tolerance": TOLERANCE, "error": target, "nfe": made["ncode"].model.nfe.forward}}
                for name in BEST:
                    peer = peers.PEERS[name]
                    way, tolerance, found = as_good(
                        lambda given, tolerance, peer=peer: peer(given, tolerance, peers.torch.float32),
                        problem,
                        exact,
                        target,
                    )
                    made[name], facts[name] = way, {"tolerance": tolerance, "error": found}
                taken = measure.interleaved(made, rounds)
                for name in made:
                    config = _entry("module", name, kind, fields, seed)
                    yield {**config, "size": horizon}, {**facts[name], **_over(taken, name, "ncode")}


def training(rounds: int, seed: int) -> Entries:
    """Nested spheres as ANODE's public code trains them, whole."""
    from benchmarks import anode

    taken: dict[str, list[float]] = {name: [] for name in anode.WAYS}
    found: dict[str, dict] = {}
    for train in anode.WAYS.values():
        train(replace(anode.settings(0), epochs=1))
    for _ in range(min(rounds, 3)):
        for which in SEEDS:
            for name, train in anode.WAYS.items():
                start = time.process_time()
                found[name] = train(anode.settings(which))
                taken[name].append(time.process_time() - start)
    for name in anode.WAYS:
        yield (
            _entry("training", name, "neural ODE", "spheres", seed),
            {
                **found[name],
                **_over(taken, name, "ANODE's public code"),
            },
        )


def steps_of(name: str, way: str, seed: int) -> tuple[Callable, Callable, list, list]:
    """One gradient of a block: forward, backward, the field, and a list that is given each solve's evaluations."""
    import torch

    from ncode import Solver
    from ncode.fields.conv import ConvBlock
    from ncode.reproduction.experiments.theorem_1.price import SOLVES, Problem

    block = BLOCKS[name]
    if block.filters is None:
        problem = Problem.build(block.batch, block.channels, block.size, seed=seed)
    else:
        torch.manual_seed(seed)
        field = ConvBlock(block.channels, block.size, filters=block.filters)
        start = field.release()
        theta = start + 0.1 * start.abs().mean() * torch.randn(block.batch, len(start))
        problem = Problem(field, torch.randn(block.batch, *field.shape), theta)
    x, theta = (part.clone().requires_grad_() for part in (problem.x, problem.theta))
    gradients = way if way in ("direct", "checkpointed") else "adjoint"
    solver, solve = Solver(gradients=gradients, max_nfe=100_000), SOLVES[MODES[way]]

    def back(end: torch.Tensor) -> None:
        torch.autograd.grad(end.square().mean(), (x, theta))

    counts = []

    def ahead() -> torch.Tensor:
        end, nfe = solve(problem.field, x, theta, solver)
        counts[:] = [nfe]
        return end

    return ahead, back, [problem.field], counts


def block(rounds: int, seed: int) -> Entries:
    """Gradient modes, and Appendix B's listing, on convolutional blocks at the default tolerance."""
    for name, size in BLOCKS.items():
        made = {way: steps_of(name, way, seed) for way in MODES}
        ways = {way: (lambda ahead=ahead, back=back: back(ahead())) for way, (ahead, back, *_) in made.items()}
        taken = measure.interleaved(ways, min(rounds, size.rounds))
        for way in MODES:
            (nfe,) = made[way][-1]
            counts = {"forward": float(nfe.forward), "backward": float(nfe.backward)}
            yield _entry("block", way, "open loop", name, seed), {**_over(taken, way, "direct"), **counts}


def flow(rounds: int, seed: int) -> Entries:
    """The exact linear flow, beside dopri5 at 1e-6."""
    from benchmarks import linear_flow

    for m in linear_flow.TARGETS:
        table = linear_flow.measure(m, rounds)
        ratio, milliseconds, error = table["chosen"]
        middle, low, high = measure.spread(list(ratio))
        config = {**_entry("flow", "exact", "AutoN-CODE", "near", seed), "size": m}
        ratios = {"ratio": middle, "ratio_low": low, "ratio_high": high}
        yield config, {"seconds": milliseconds / 1e3, "error": error, **ratios}


def episode(rounds: int, seed: int) -> Entries:
    """A memory episode in the low-rank form, beside direct rk4 by this library's engine and by torchdiffeq's."""
    from benchmarks import memory
    from ncode.reproduction.models.memory import Task

    found = memory.times(Task(*EPISODE), rounds, allocator=False, forms=DIRECT)
    for way in DIRECT[1:]:
        (middle, low, high), seconds = found[way]["ratio"], found[way]["seconds"][0]
        ratios = {"ratio": middle, "ratio_low": low, "ratio_high": high}
        yield _entry("episode", way, "memory", f"n = {EPISODE[0]}", seed), {"seconds": seconds, **ratios}


def book(rounds: int, seed: int) -> Entries:
    """Seconds of ``make environment`` and ``make book`` in a fresh clone of this checkout, with a folder of runs of its
    own; once, since it takes minutes, and on all cores, whatever was asked for."""
    here, cores = Path(__file__).resolve().parent.parent, range(os.cpu_count() or 1)
    own = {name: value for name, value in os.environ.items() if name not in ("OMP_NUM_THREADS", "MKL_NUM_THREADS")}
    with tempfile.TemporaryDirectory() as folder:
        clone = Path(folder) / "fresh clone"
        subprocess.run(["git", "clone", "--quiet", str(here), str(clone)], check=True)
        taken = {}
        for name, target in (("environment", "environment"), ("seconds", "book")):
            start = time.perf_counter()
            given = {**own, "NCODE_RUNS": f"{folder}/runs"}
            free = functools.partial(os.sched_setaffinity, 0, cores)
            subprocess.run(["make", target], cwd=clone, env=given, check=True, preexec_fn=free)
            taken[name] = time.perf_counter() - start
    yield _entry("book", "make book", "cpu", "fresh clone", seed), taken


def where(rounds: int, seed: int) -> Entries:
    """Where the time of this library's training steps goes: the perceptrons', and an iteration's on nested spheres."""
    from benchmarks import anode, shares
    from benchmarks.ours import ncode
    from benchmarks.problems import KINDS, case
    from benchmarks.solver import TOLERANCE

    for kind in KINDS:
        for custom, horizon in ((False, 1.0), (True, 1.0), (True, 10.0)):
            for fields in ("near", "far"):
                way = ncode(case(kind, fields, seed=seed, horizon=horizon), TOLERANCE, custom=custom)
                modules = [way.model.field, *([way.model.g] if kind == "closed loop" else [])]
                config = _entry("shares", "ncode, a user's module" if custom else "ncode", kind, fields, seed)
                found = shares.of(way.ahead, way.back, modules if custom else [], rounds)
                yield {**config, "size": horizon}, found
    ahead, back, iteration = anode.solve(anode.settings(seed))
    found = shares.of(ahead, back, [], rounds)
    whole = measure.interleaved({"iteration": iteration, "solve": lambda: back(ahead())}, rounds)
    rest = measure.spread([a - b for a, b in zip(whole["iteration"], whole["solve"], strict=True)])[0]
    yield _entry("shares", "ncode", "neural ODE", "spheres", seed), {**found, "rest": rest}


def where_in_blocks(rounds: int, seed: int) -> Entries:
    """Where the time of the blocks' gradients goes. Appendix B's adds up in place unless watched, and is left out."""
    from benchmarks import shares

    for name, size in BLOCKS.items():
        for way in ("direct", "checkpointed", "adjoint"):
            found = shares.of(*steps_of(name, way, seed)[:3], min(rounds, size.rounds))
            yield _entry("shares", way, "open loop", name, seed), found


def _entry(suite: str, way: str, kind: str, fields: str, seed: int) -> dict:
    return {"suite": suite, "way": way, "kind": kind, "fields": fields, "seed": seed}


def _over(taken: dict[str, list[float]], name: str, base: str) -> dict:
    middle, low, high = measure.spread(taken[name])
    ratio, least, most = measure.ratios(taken[name], taken[base])
    return {"seconds": middle, "low": low, "high": high, "ratio": ratio, "ratio_low": least, "ratio_high": most}
