"""Where a sample's own steps pay: ``python -m benchmarks.independent``, into ``results/performance.jsonl``.

Rules: forward and backward of one training step, 512 samples in the plane, x' = f(x, θ) - λ x with a tanh perceptron
of width 32, dopri5 in double precision; θ and λ belong to the sample. All ways run in one process, interleaved round by
round, after a warm-up (:mod:`benchmarks.measure`). At *equal worst-sample error* means: steps that all samples share
are taken at a tolerance of 1e-3, and the tolerance of every sample's own steps is halved until the worst sample is as
good. The field is a user's own and goes through autograd either way, so that the steps are what is compared;
``shared, as installed`` is the library's own perceptron, which has λ = 0 only; ``independent, all evaluated`` leaves no
sample behind that has arrived. Evaluations are counted by sample: a call of the field for n samples is n of them, those
in which accepted steps are taken again for the gradient included.

The cases were declared before any was run: ``near``-equal and very different, ``far``, fields
(:mod:`benchmarks.problems`), T = 1, λ = 0; ``stiff``, near-equal fields, T = 1, λ = 1 but for one sample's 300; and
``horizons``, near-equal fields, λ = 1, a horizon of every sample's own, from 1 to 100, evenly over its logarithm.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator

from benchmarks import measure
from benchmarks.solver import SLACK, save

TOLERANCE, FINEST = 1e-3, 1e-8
CASES = ("near", "far", "stiff", "horizons")


def problem(name: str, seed: int):
    """x(0), θ with λ before it, the gradient's weights, and the times (time, batch)."""
    import numpy as np
    import torch

    from benchmarks.problems import case

    found = case("open loop", "far" if name == "far" else "near", seed=seed)
    batch = len(found.x)
    leak = np.zeros((batch, 1)) if name in ("near", "far") else np.ones((batch, 1))
    if name == "stiff":
        leak[0] = 300.0
    ends = np.logspace(0, 2, batch) if name == "horizons" else np.ones(batch)
    tensors = (found.x, np.concatenate([leak, found.theta], 1), found.upstream, np.stack([0 * ends, ends]))
    return tuple(torch.as_tensor(part) for part in tensors)


def way(given, tolerance: float, installed: bool = False, all_evaluated: bool = False, **options) -> Callable:
    """One training step, whose call gives every sample's end; ``evaluations`` are of its last call, by sample."""
    import torch

    from benchmarks.ours import Custom, Given
    from ncode import MLP, NCODE, Solver

    class Leaky(Custom):
        def __init__(self):
            super().__init__(2, 32)
            self.leak = torch.nn.Parameter(torch.zeros(1))

        def forward(self, t, x, theta):
            solve.evaluations += len(x)
            return super().forward(t, x, theta) - self.value("leak", theta) * x

    x, theta, upstream, times = given
    x, theta = x.clone().requires_grad_(), (theta[:, 1:] if installed else theta).clone().requires_grad_()
    field = (MLP(2, (32,)) if installed else Leaky()).double()
    solver = Solver(rtol=tolerance, atol=tolerance, max_nfe=10**6, **options)
    model = NCODE(field, gamma=Given(theta), solver=solver)
    if all_evaluated:
        posed = model.problem
        model.problem = lambda x0, u=None: posed(x0, u)._replace(only=None)
    # Where all horizons are one, as a user would say so.
    own = bool((times[-1] != times[-1, 0]).any())
    asked = times if own else [0.0, float(times[-1, 0])]

    def solve():
        solve.evaluations = 0
        end = model.trajectory(x, asked).x[-1]
        torch.autograd.grad(end, [x, theta], upstream)
        return end.detach()

    solve()
    if installed:
        solve.evaluations = model.nfe.forward * len(x)
    return solve


def exact(given):
    """Every sample's end, by a tight solve."""
    import torch

    from benchmarks.problems import unpack
    from ncode import Solver, solve

    x, theta, _, times = given
    first, bias, last, offset = unpack(theta[:, 1:], 2)

    def f(t, x):
        hidden = torch.tanh(torch.einsum("bij,bj->bi", first, x) + bias)
        return torch.einsum("bij,bj->bi", last, hidden) + offset - theta[:, :1] * x

    with torch.no_grad():
        return solve(f, x, times, solver=Solver("dopri8", rtol=1e-11, atol=1e-11, max_nfe=10**6))[-1]


def error(solve: Callable, reference) -> float:
    return float((solve() - reference).norm(dim=1).max())


def measured(rounds: int, seed: int, cases: list[str]) -> Iterator[tuple[dict, dict]]:
    for name in cases:
        given = problem(name, seed)
        reference = exact(given)
        made = {"shared": way(given, TOLERANCE)}
        facts = {"shared": {"tolerance": TOLERANCE, "error": error(made["shared"], reference)}}
        tolerance, target = TOLERANCE, facts["shared"]["error"]
        while True:
            made["independent"] = way(given, tolerance, independent=True)
            found = error(made["independent"], reference)
            if found <= SLACK * target or tolerance < FINEST:
                break
            tolerance /= 2
        made["independent, all evaluated"] = way(given, tolerance, independent=True, all_evaluated=True)
        facts["independent"] = facts["independent, all evaluated"] = {"tolerance": tolerance, "error": found}
        if name in ("near", "far"):
            made["shared, as installed"] = way(given, TOLERANCE, installed=True)
            facts["shared, as installed"] = facts["shared"]
        counts = {key: float(solve.evaluations) for key, solve in made.items()}
        taken = measure.interleaved(made, rounds)
        for key in made:
            middle, low, high = measure.spread(taken[key])
            ratio, least, most = measure.ratios(taken[key], taken["shared"])
            times = {"seconds": middle, "low": low, "high": high}
            ratios = {"ratio": ratio, "ratio_low": least, "ratio_high": most}
            config = {"suite": "independent", "way": key, "kind": "open loop", "fields": name, "seed": seed}
            yield config, {**facts[key], "evaluations": counts[key], **times, **ratios}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("cases", nargs="*", default=list(CASES), help=f"of {', '.join(CASES)}")
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args()
    measure.prepare(1)
    start, group = time.time(), []
    for config, metrics in measured(chosen.rounds, chosen.seed, chosen.cases):
        group.append((config, metrics))
        print(f"{config}: {', '.join(f'{name} {value:.3g}' for name, value in metrics.items())}", flush=True)
        save(group, 1, time.time() - start)


if __name__ == "__main__":
    main()
