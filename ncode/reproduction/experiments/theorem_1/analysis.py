"""Theorem 1's questions: errors by tolerance, flipped signs, memory, contraction, and a regularised flow."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from ncode.controllers import OpenLoop
from ncode.costs import jacobian, kinetic, path_cost
from ncode.fields.mlp import MLP
from ncode.models import NCODE
from ncode.reproduction.experiments import theorem_1
from ncode.reproduction.experiments.theorem_1.price import distance
from ncode.solvers.options import NFE, Solver

RATES = (1.0, 5.0, 10.0)
"""Contraction rates λ."""
CONTRACTIVE_HORIZON = 5.0
SIGNS = {"as in the theorem": (1, 1), "+a ∂h/∂z": (-1, 1), "+∂ℓ/∂z": (1, -1)}
"""Factors of the adjoint equation's two terms, by what the right-hand side then has."""
MEMORY_TOLERANCES = (1e-3, 1e-5, 1e-7, 1e-9)
MEMORY_HORIZON = 10.0
# A state (x, c) of the two samples has 48 bytes: two ends, at most sixteen checkpoints, and as much as four states for
# W and for the graph of the single evaluation that finds W.
MEMORY_BOUND = (2 + 16 + 4) * 48


def errors(records: Sequence, pattern: str, tolerances: Sequence[float]) -> np.ndarray:
    """A metric that is kept by tolerance, such as ``direct@{}``: one row a seed, one column a tolerance."""
    return np.array([[record.metrics[pattern.format(f"{tol:g}")] for tol in tolerances] for record in records])


def flipped(setting: theorem_1.Setting, horizon: float) -> dict[str, float]:
    """The relative error of g's gradient, by the adjoint equation written out with each sign of :data:`SIGNS`."""
    exact = setting.gradient(horizon, Solver(rtol=1e-12, atol=1e-12, max_nfe=10**6))["g"]
    return {name: distance(theorem_1.written_out(setting, horizon, *signs), exact) for name, signs in SIGNS.items()}


@dataclass(frozen=True)
class Memory:
    """Bytes kept for the backward pass and evaluations forward, by way: ``direct`` or ``adjoint``.

    Attributes:
        by_horizon: of every horizon.
        by_steps: of every tolerance in :data:`MEMORY_TOLERANCES`.
    """

    by_horizon: Mapping[str, Sequence[tuple[int, int]]]
    by_steps: Mapping[str, Sequence[tuple[int, int]]]

    def kept(self, way: str) -> list[int]:
        """All the bytes that were counted of one way."""
        return [size for size, _ in (*self.by_horizon[way], *self.by_steps[way])]

    def grows(self) -> bool:
        """Whether direct gradients keep at least five times as much at the longest horizon as at the shortest."""
        return self.by_horizon["direct"][-1][0] > 5 * self.by_horizon["direct"][0][0]


def memory(horizons: Sequence[float]) -> Memory:
    """What both ways keep as the horizon grows, and as the steps do."""
    ways = ("direct", "adjoint")
    return Memory(
        {way: [theorem_1.saved_bytes(way, T) for T in horizons] for way in ways},
        {way: [theorem_1.saved_bytes(way, MEMORY_HORIZON, tol) for tol in MEMORY_TOLERANCES] for way in ways},
    )


@dataclass(frozen=True)
class Found:
    """A gradient of contractive dynamics: its relative error, its price, and whether the library gave a warning."""

    error: float
    nfe: NFE
    warned: bool


Contracted = Mapping[tuple[float, int], Found]
"""By contraction rate and number of checkpoints."""


def contraction(tolerance: float, counts: Sequence[int], refine: bool) -> Contracted:
    """The adjoint's gradients under contraction, with every stretch taken as it comes or refined where it misses."""
    options = {"rtol": tolerance, "atol": tolerance, "gradients": "adjoint", "max_nfe": 10**6, "refine": refine}
    found = {}
    for rate in RATES:
        reference = Solver("dopri8", rtol=1e-11, atol=1e-11, max_nfe=10**6)
        exact, _, _ = theorem_1.contractive(rate, CONTRACTIVE_HORIZON, reference)
        for count in counts:
            solver = Solver(checkpoints=count, **options)
            gradient, nfe, warned = theorem_1.contractive(rate, CONTRACTIVE_HORIZON, solver)
            found[rate, count] = Found(distance(gradient, exact), nfe, warned)
    return found


def regularised(weight: float, iterations: int, seed: int = 0) -> tuple[float, float, int]:
    """Learn x ↦ -x in an open loop with ``weight`` times kinetic energy and the Jacobian's size.

    Returns:
        Mean squared error, mean kinetic energy and evaluations after training.
    """
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
        return (model(x0) + x0).square().mean().item(), energy, model.nfe.forward


def least_energy() -> float:
    """The least mean kinetic energy of exact reflection: a straight path at constant speed 2|x|, so the mean of 4x²."""
    return 4 * torch.linspace(-1, 1, 64).square().mean().item()


def holds(records: Sequence, tolerances: Sequence[float], flips: Mapping[str, float], kept: Memory) -> dict[str, bool]:
    """The questions that decide claim N4."""
    tight = list(tolerances).index(1e-12)
    return {
        "gradient within 10⁻⁹ of the reference at tolerance 10⁻¹²": bool(
            errors(records, "checkpointed@{}", tolerances)[:, tight].max() < 1e-9
        ),
        "either sign flipped: error above 0.1": min(flips["+a ∂h/∂z"], flips["+∂ℓ/∂z"]) > 0.1,
        "memory bounded as T and the steps grow": max(kept.kept("adjoint")) <= MEMORY_BOUND,
    }


def reaches_gamma(records: Sequence, tolerances: Sequence[float]) -> dict[str, bool]:
    """The questions that decide claim N5."""
    tight = list(tolerances).index(1e-12)
    worst = {name: errors(records, f"{name}:{{}}", tolerances)[:, tight].max() for name in ("γ", "chain")}
    return {
        "gradient of γ within 10⁻⁹ of the reference at tolerance 10⁻¹²": bool(worst["γ"] < 1e-9),
        "∂l/∂θ(0), from a solve without γ, times ∂θ(0)/∂μ is the same": bool(worst["chain"] < 1e-9),
    }
