"""Proposition 1's two flows, in closed form and by computer algebra."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import sympy as sp
import torch
from jaxtyping import Float64
from torch import Tensor

from ncode.models import Flow

Path = Callable[[Float64[Tensor, "n 1"], Float64[Tensor, "time 1 1"]], Float64[Tensor, "time n 1"]]

EXACT: Mapping[str, Path] = {"open": lambda x, t: x * (1 - t), "closed": lambda x, t: x * t.cos()}
"""The solutions x(t) of both loops: (1 - t) x(0) and x(0) cos t."""


def symbolic(open_path: sp.Expr, closed_path: sp.Expr) -> dict[str, bool]:
    """Whether the paths x(t) that computer algebra found, in the symbols ``t`` and ``x_0``, are what the proposition
    says."""
    t, x0 = sp.Symbol("t"), sp.Symbol("x_0", real=True)
    both = {open_path.subs({x0: start, t: 1}) for start in (0, 1)}
    return {
        "Φ(x, t) = (1 - t) x": sp.simplify(open_path - (1 - t) * x0) == 0,
        "Φ(0, 1) = Φ(1, 1) = 0": both == {sp.Integer(0)},
        "Φ(x, t) = x cos t": sp.simplify(closed_path - x0 * sp.cos(t)) == 0,
        "Φ(x, π/2) = 0 for every x": sp.simplify(closed_path.subs(t, sp.pi / 2)) == 0,
        "Φ(x, π) = -x": sp.simplify(closed_path.subs(t, sp.pi) + x0) == 0,
    }


def determinant(generator: list[list[int]]) -> sp.Expr:
    """The determinant, at any time, of the linear flow with this generator; 1 keeps area and is invertible."""
    return sp.simplify((sp.Matrix(generator) * sp.Symbol("t")).exp().det())


@torch.no_grad()
def error(model: Flow, x0: Float64[Tensor, "n 1"], end: Float64[Tensor, "n 1"]) -> float:
    """The largest distance of the model's ends to the exact ones."""
    return (model(x0) - end).abs().max().item()


@torch.no_grad()
def error_along(loop: str, model: Flow, x0: Float64[Tensor, "n 1"], t: Float64[Tensor, " time"]) -> float:
    """The largest distance of the model's paths to :data:`EXACT`, at all times."""
    return (model.trajectory(x0, t).x - EXACT[loop](x0, t.reshape(-1, 1, 1))).abs().max().item()
