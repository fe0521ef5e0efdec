"""Theorem 1's questions: errors by tolerance, flipped signs, memory, contraction, and a regularised flow."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from ncode.reproduction.experiments.theorem_1.checks import MEMORY_TOLERANCES, MEMORY_WAYS, RATES, SIGNS
from ncode.reproduction.runs.experiment import Run
from ncode.solvers.options import NFE

# A state (x, c) of the two samples has 48 bytes: two ends, at most sixteen checkpoints, and as much as four states for
# W and for the graph of the single evaluation that finds W.
MEMORY_BOUND = (2 + 16 + 4) * 48


def errors(records: Sequence, pattern: str, tolerances: Sequence[float]) -> np.ndarray:
    """A metric that is kept by tolerance, such as ``direct@{}``: one row a seed, one column a tolerance."""
    return np.array([[record.metrics[pattern.format(f"{tol:g}")] for tol in tolerances] for record in records])


def flips(checks: Run) -> dict[str, float]:
    """The relative error of g's gradient, by the adjoint equation with each sign of :data:`SIGNS`."""
    return {name: checks.metrics[f"sign {name}"] for name in SIGNS}


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


def memory(checks: Run) -> Memory:
    """What both ways keep as the horizon grows, and as the steps do."""

    def counted(kind: str, cases: Sequence[float]) -> dict[str, list[tuple[int, int]]]:
        found = checks.metrics
        return {
            way: [tuple(int(found[f"{kind} {case:g} {way} {what}"]) for what in ("bytes", "forward")) for case in cases]
            for way in MEMORY_WAYS
        }

    return Memory(counted("horizon", checks.config.horizons), counted("steps", MEMORY_TOLERANCES))


@dataclass(frozen=True)
class Found:
    """A gradient of contractive dynamics: its relative error, its price, and whether the library gave a warning."""

    error: float
    nfe: NFE
    warned: bool


Contracted = Mapping[tuple[float, int], Found]
"""By contraction rate and number of checkpoints."""


def contraction(checks: Run, refined: bool) -> Contracted:
    """The adjoint's gradients under contraction, with every stretch taken as it comes or refined where it misses."""
    found = {}
    for rate in RATES:
        for count in checks.config.checkpoints:
            case = f"{'refined' if refined else 'plain'} {rate:g} {count}"
            error, forward, backward, warned = (
                checks.metrics[f"{case} {name}"] for name in ("error", "forward", "backward", "warned")
            )
            found[rate, count] = Found(error, NFE(int(forward), int(backward)), bool(warned))
    return found


def regularised(checks: Run) -> dict[float, tuple[float, float, int]]:
    """By the running cost's weight: mean squared error, mean kinetic energy and evaluations after training."""

    def of(weight: float, name: str) -> float:
        return checks.metrics[f"weight {weight:g} {name}"]

    return {
        weight: (of(weight, "mse"), of(weight, "energy"), int(of(weight, "forward")))
        for weight in checks.config.weights
    }


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
