"""Stiff equations, a suite of :mod:`benchmarks.solver`: where an implicit method pays, against dopri5.

One sample, forward, double precision, at tolerance 1e-6 for both. Stiffness grows with μ for Van der Pol's oscillator,
solved over T = μ, which holds one jump, and with T for Robertson's reaction. Errors are relative to LSODA's state at
T, by SciPy at 1e-12. A solve that takes more evaluations than :data:`MOST` is left out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from benchmarks import measure

TOLERANCE, MOST = 1e-6, 50_000
METHODS = ("rodas4", "dopri5")
VAN_DER_POL, ROBERTSON = "Van der Pol", "Robertson"
# (kind, size, T, absolute tolerance): Robertson's middle part is never larger than 4e-5.
CASES = [(VAN_DER_POL, mu, mu, 1e-6) for mu in (1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1000.0)]
CASES += [(ROBERTSON, end, end, 1e-10) for end in (0.04, 0.4, 4.0, 40.0, 400.0, 4000.0, 40_000.0)]
STARTS = {VAN_DER_POL: [2.0, 0.0], ROBERTSON: [1.0, 0.0, 0.0]}


def velocity(kind: str, size: float) -> Callable:
    """x' from the state's parts, which NumPy and PyTorch share."""

    def van_der_pol(a, b):
        return b, size * (1 - a * a) * b - a

    def robertson(a, b, c):
        first, second = -0.04 * a + 1e4 * b * c, 3e7 * b * b
        return first, -first - second, second

    return van_der_pol if kind == VAN_DER_POL else robertson


def exact(kind: str, size: float, end: float) -> np.ndarray:
    """The state at T."""
    from scipy.integrate import solve_ivp

    f = velocity(kind, size)
    options = {"method": "LSODA", "rtol": 1e-12, "atol": 1e-16}
    return solve_ivp(lambda t, x: f(*x), (0.0, end), STARTS[kind], **options).y[:, -1]


def way(method: str, kind: str, size: float, end: float, atol: float) -> Callable:
    """One solve, which gives the state at T and counts in its ``nfe``."""
    import torch

    from ncode import NFE, Solver, solve

    f, x = velocity(kind, size), torch.tensor([STARTS[kind]], dtype=torch.float64)
    solver = Solver(method, rtol=TOLERANCE, atol=atol, max_nfe=MOST)

    def once() -> np.ndarray:
        once.nfe = NFE()
        with torch.no_grad():
            path = solve(lambda t, x: torch.stack(f(*x.unbind(1)), 1), x, [0.0, end], solver=solver, nfe=once.nfe)
        return path[-1, 0].numpy()

    return once


def stiff(rounds: int, seed: int) -> Iterator[tuple[dict, dict]]:
    """rodas4 and dopri5 as stiffness grows."""
    from ncode import SolveError

    for kind, size, end, atol in CASES:
        made, facts, reference = {}, {}, exact(kind, size, end)
        for method in METHODS:
            one = way(method, kind, size, end, atol)
            try:
                found = one()
            except SolveError:
                continue
            error = float(np.linalg.norm(found - reference) / np.linalg.norm(reference))
            made[method], facts[method] = one, {"error": error, "nfe": one.nfe.forward}
        taken = measure.interleaved(made, rounds)
        for method in made:
            middle, low, high = measure.spread(taken[method])
            ratio, least, most = measure.ratios(taken[method], taken["rodas4"])
            config = {"suite": "stiff", "way": method, "kind": kind, "fields": "one", "seed": seed, "size": size}
            times = {"seconds": middle, "low": low, "high": high}
            yield config, {**facts[method], **times, "ratio": ratio, "ratio_low": least, "ratio_high": most}
