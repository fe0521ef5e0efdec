"""The models that the toy problems compare, built alike: one field, one width, one solver for all."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ncode.controllers import ClosedLoop, OpenLoop
from ncode.fields.mlp import MLP
from ncode.models import NCODE, AugmentedNeuralODE, DataControlledODE, Flow, NeuralODE
from ncode.solvers.options import Solver

FLOWS = ("node", "anode", "data", "open", "closed")


def build(
    model: str,
    dim: int,
    hidden: Sequence[int],
    control_hidden: Sequence[int],
    solver: Solver,
    *,
    steer: str = "*",
    horizon: float = 1.0,
) -> Flow:
    """One of :data:`FLOWS` in ``dim`` dimensions, on the same kind of field.

    Args:
        model: ``node``; ``anode`` with one added dimension; ``data``, data control; ``open`` and ``closed``, N-CODE.
        dim: dimension of the state.
        hidden: widths of the field's hidden layers.
        control_hidden: widths of the controller's.
        solver: for all alike.
        steer: which of the field's parameters N-CODE controls.
        horizon: T, where the flow ends.

    Raises:
        ValueError: when ``model`` is none of them.
    """
    how = {"horizon": horizon, "solver": solver}
    if model == "node":
        return NeuralODE(MLP(dim, hidden), **how)
    if model == "anode":
        return AugmentedNeuralODE(MLP(dim + 1, hidden), augment=1, **how)
    if model == "data":
        return DataControlledODE(MLP(dim, hidden, inputs=dim), **how)
    field = MLP(dim, hidden)
    if model == "open":
        gamma = OpenLoop(hidden=control_hidden)
        return NCODE(field, gamma=gamma, steer=steer, **how)
    if model == "closed":
        g = ClosedLoop(hidden=control_hidden)
        return NCODE(field, g=g, steer=steer, **how)
    raise ValueError(f"model: {model!r} is not one of {', '.join(FLOWS)}")


@torch.no_grad()
def paths(flow: Flow, x: Tensor, tolerance: float = 1e-10) -> dict[str, float]:
    """How far the points ``x`` travel, how much further than they need, and how exactly the worst one is solved.

    Args:
        tolerance: of the reference solve (see :meth:`ncode.models.flow.Flow.solver_error`).

    Returns:
        ``path_length``, the mean length of their paths; ``detour``, its ratio to the mean distance between the paths'
        ends; ``solver_error``, the worst point's.
    """
    path = flow.trajectory(x, torch.linspace(0, flow.horizon, 51)).x
    length = path.diff(dim=0).norm(dim=2).sum(0).mean()
    distance = (path[-1] - path[0]).norm(dim=1).mean()
    return {
        "path_length": length.item(),
        "detour": (length / distance).item(),
        "solver_error": flow.solver_error(x, tolerance=tolerance).max().item(),
    }
