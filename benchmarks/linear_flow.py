"""What the exact linear flow costs, as a ratio to dopri5 at 1e-6: forward and backward, AutoN-CODE's sizes.

    python benchmarks/linear_flow.py [--check]

Rules: x(10) of x' = θx from a shared x(0), with gradients to θ, for 64 samples and two entries a row, at AutoN-CODE's
scale; both in one process, taking turns, so that whatever else the machine does hits both; one thread; processor time;
warm-up discarded; the median of the ratios of neighbouring measurements, with its quartiles. dopri5 is torchdiffeq's,
on the full matrices, its error norm the worst sample's. Errors are relative, the worst sample's, against the
matrix exponential in float64.

``--check`` fails when the exact flow is less than 5 (m = 25) or 1.5 times (m = 64, 128) as fast as dopri5 at 1e-6, or
its error is above 1e-6.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import numpy as np
import torch
from torch.nn import functional as F

from ncode import NCODE, Solver
from ncode.fields.elementary import Linear
from ncode.reproduction.models.autoencoders import scattered
from ncode.solvers.linear import dense, sparse_linear_flow

BATCH, ENTRIES, HORIZON, SCALE = 64, 2, 10.0, 0.3
TARGETS = {25: 5.0, 64: 1.5, 128: 1.5}


class Given(torch.nn.Module):
    """A controller that gives whatever θ it is handed."""

    theta: torch.Tensor

    def forward(self, x0):
        return self.theta


def ways(m: int, columns: torch.Tensor, x0: torch.Tensor) -> dict[str, Callable]:
    """Every way to get x(T) from θ's entries."""

    def exact(way: str) -> Callable:
        return lambda entries: sparse_linear_flow(entries, columns, x0, [HORIZON], way)[0]

    def dopri5(tolerance: float) -> Callable:
        model = NCODE(
            Linear(m),
            gamma=Given(),
            horizon=HORIZON,
            solver=Solver("dopri5", rtol=tolerance, atol=tolerance, backend="torchdiffeq"),
        )

        def solve(entries):
            model.gamma.theta = dense(entries, columns).flatten(1)
            return model(x0.expand(len(entries), m))

        return solve

    def exponential(entries):
        return torch.linalg.matrix_exp(HORIZON * dense(entries, columns)) @ x0

    return {
        "dopri5 at 1e-6": dopri5(1e-6),
        "chosen": exact(""),
        "action": exact("action"),
        "squaring": exact("squaring"),
        "dopri5 at 1e-3": dopri5(1e-3),
        "torch.linalg.matrix_exp": exponential,
    }


def seconds(way: Callable, entries: torch.Tensor, upstream: torch.Tensor) -> float:
    start = time.process_time()
    torch.autograd.grad(way(entries), entries, upstream)
    return time.process_time() - start


def measure(m: int, repeats: int) -> dict[str, tuple[np.ndarray, float, float]]:
    """For every way: dopri5's time over its own, repeatedly; its median milliseconds; its error."""
    torch.manual_seed(0)
    columns, x0 = scattered(ENTRIES, m), torch.randn(m)
    entries = (SCALE * F.normalize(torch.randn(BATCH, ENTRIES, m), dim=1)).requires_grad_()
    upstream = torch.randn(BATCH, m)
    with torch.no_grad():
        truth = torch.matrix_exp(HORIZON * dense(entries, columns).double()) @ x0.double()
    every = ways(m, columns, x0)
    base = every.pop("dopri5 at 1e-6")
    pairs = {name: [] for name in every}
    for _ in range(repeats + 1):
        for name, way in every.items():
            pairs[name].append((seconds(base, entries, upstream), seconds(way, entries, upstream)))
    table = {}
    for name, way in {"dopri5 at 1e-6": base, **every}.items():
        error = ((way(entries) - truth).norm(dim=1) / truth.norm(dim=1)).max().item()
        if name in pairs:
            theirs, ours = np.array(pairs[name][1:]).T
            table[name] = theirs / ours, 1e3 * np.median(ours), error
        else:
            table[name] = np.ones(1), 1e3 * np.median([pair[0] for pair in pairs["chosen"][1:]]), error
    return table


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--check", action="store_true", help="fail where a target is missed")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    missed = []
    for m, target in TARGETS.items():
        print(f"m = {m}: times as fast as dopri5 at 1e-6, forward and backward, batch {BATCH}")
        table = measure(m, arguments.repeats)
        for name, (ratio, milliseconds, error) in table.items():
            low, middle, high = np.quantile(ratio, (0.25, 0.5, 0.75))
            print(f"  {name:24} {middle:6.2f} [{low:.2f}, {high:.2f}] {milliseconds:8.1f} ms   error {error:.1e}")
        ratio, _, error = table["chosen"]
        if np.median(ratio) < target or error > 1e-6:
            missed.append(f"m = {m}: {np.median(ratio):.2f} times, error {error:.1e}")
    if arguments.check and missed:
        raise SystemExit("; ".join(missed))
