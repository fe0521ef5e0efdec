"""Theorem 1's checks that are not of an error by tolerance: flipped signs, memory, contraction, a regularised flow.

They are a run of their own, so that a page finds them finished as it finds every other run.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from ncode.controllers import OpenLoop
from ncode.costs import jacobian, kinetic, path_cost
from ncode.fields.mlp import MLP
from ncode.models import NCODE
from ncode.reproduction.experiments.theorem_1.train import (
    Setting,
    contractive,
    distance,
    saved_bytes,
    written_out,
)
from ncode.reproduction.runs.experiment import Experiment
from ncode.reproduction.runs.output import RunOutput
from ncode.solvers.options import Solver

RATES = (1.0, 5.0, 10.0)
"""Contraction rates λ."""
CONTRACTIVE_HORIZON = 5.0
SIGNS = {"as in the theorem": (1.0, 1.0), "+a ∂h/∂z": (-1.0, 1.0), "+∂ℓ/∂z": (1.0, -1.0)}
"""Factors of the adjoint equation's two terms, by what the right-hand side then has."""
MEMORY_TOLERANCES = (1e-3, 1e-5, 1e-7, 1e-9)
MEMORY_HORIZON = 10.0
MEMORY_WAYS = ("direct", "adjoint")


@dataclass(frozen=True)
class Config:
    """What is checked.

    Attributes:
        seed: of the random system whose signs are flipped, and of the flow that is trained.
        horizon: of that system.
        horizons: at which memory is counted.
        checkpoints: numbers of checkpoints under contraction.
        tolerance: of the solves under contraction.
        weights: of the running cost with which the flow is trained.
        iterations: of that training.
    """

    horizon: float
    horizons: Sequence[float]
    checkpoints: Sequence[int]
    tolerance: float
    weights: Sequence[float]
    iterations: int
    seed: int = 0


def train(config: Config, checkpoint: Path | None = None) -> RunOutput:
    """The numbers of every check (see the functions below), each under its check's name and case."""
    parts = {
        "sign": flipped(Setting.build(config.seed), config.horizon),
        "horizon": memory({f"{T:g}": (T, 1e-6) for T in config.horizons}),
        "steps": memory({f"{tol:g}": (MEMORY_HORIZON, tol) for tol in MEMORY_TOLERANCES}),
        "plain": contraction(config.tolerance, config.checkpoints, refine=False),
        "refined": contraction(config.tolerance, config.checkpoints, refine=True),
        "weight": {
            f"{weight:g} {name}": value
            for weight in config.weights
            for name, value in regularised(weight, config.iterations, config.seed).items()
        },
    }
    return RunOutput({f"{part} {case}": float(value) for part, of in parts.items() for case, value in of.items()})


def flipped(setting: Setting, horizon: float) -> dict[str, float]:
    """The relative error of g's gradient, by the adjoint equation written out with each sign of :data:`SIGNS`."""
    exact = setting.gradient(horizon, Solver(rtol=1e-12, atol=1e-12, max_nfe=10**6))["g"]
    return {name: distance(written_out(setting, horizon, *signs), exact) for name, signs in SIGNS.items()}


def memory(cases: Mapping[str, tuple[float, float]]) -> dict[str, int]:
    """``CASE WAY bytes`` kept for the backward pass and ``CASE WAY forward`` evaluations, by horizon and tolerance."""
    found = {}
    for case, (horizon, tolerance) in cases.items():
        for way in MEMORY_WAYS:
            found[f"{case} {way} bytes"], found[f"{case} {way} forward"] = saved_bytes(way, horizon, tolerance)
    return found


def contraction(tolerance: float, counts: Sequence[int], refine: bool) -> dict[str, float | bool]:
    """The adjoint's gradients under contraction, with every stretch taken as it comes or refined where it misses.

    Returns:
        ``RATE COUNT error``, relative; ``… forward`` and ``… backward``, evaluations; ``… warned``, 1 where the library
        gave a warning.
    """
    options = {"rtol": tolerance, "atol": tolerance, "gradients": "adjoint", "max_nfe": 10**6, "refine": refine}
    found = {}
    for rate in RATES:
        reference = Solver("dopri8", rtol=1e-11, atol=1e-11, max_nfe=10**6)
        exact, _, _ = contractive(rate, CONTRACTIVE_HORIZON, reference)
        for count in counts:
            gradient, nfe, warned = contractive(rate, CONTRACTIVE_HORIZON, Solver(checkpoints=count, **options))
            numbers = {
                "error": distance(gradient, exact),
                "forward": nfe.forward,
                "backward": nfe.backward,
                "warned": warned,
            }
            found |= {f"{rate:g} {count} {name}": value for name, value in numbers.items()}
    return found


def regularised(weight: float, iterations: int, seed: int = 0) -> dict[str, float]:
    """Learn x ↦ -x in an open loop with ``weight`` times kinetic energy and the Jacobian's size.

    Returns:
        ``mse``, mean squared error, ``energy``, mean kinetic energy, and ``forward`` evaluations after training.
    """
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        field, x0 = MLP(1, [16]), torch.linspace(-1, 1, 64)[:, None]
        gamma = OpenLoop(hidden=[16])
        model = NCODE(field, gamma=gamma, solver=Solver(gradients="adjoint"))
        optimiser = torch.optim.Adam(model.parameters(), lr=1e-2)
        for _ in range(iterations):
            penalty = jacobian(torch.randn_like(x0))
            out = path_cost(model, x0, running=lambda point, penalty=penalty: kinetic(point) + penalty(point))
            loss = (out.x[-1] + x0).square().mean() + weight * out.cost.mean()
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        with torch.no_grad():
            energy = path_cost(model, x0, running=kinetic).cost.mean().item()
            mse = (model(x0) + x0).square().mean().item()
        return {"mse": mse, "energy": energy, "forward": model.nfe.forward}


experiment = Experiment("theorem_1.checks", Config, None, train)
