"""Section 2 of the paper, measured: a neural ODE's reversibility, depth, memory, and order on the line."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from ncode.fields.base import Field
from ncode.fields.mlp import MLP, TimedMLP
from ncode.models import NeuralODE
from ncode.solvers.options import Solver

State = Float[Tensor, "n dim"]
METHODS = ("euler", "midpoint", "rk4")


class Contracted(Field):
    """f(x) - λ x.

    Args:
        field: the field f that is contracted.
        rate: λ, of the contraction.
    """

    def __init__(self, field: Field, rate: float):
        super().__init__(field.shape)
        self.field, self.rate = field, rate

    def forward(self, t, x, theta):
        return self.field(t, x, theta) - self.rate * x


def returned(field: Field, x0: State, rate: float, tolerance: float) -> tuple[float, float]:
    """The worst sample's distance from ``x0`` after T = 1 forward and back, and its error at T, for f(x) - λx."""
    solver = Solver(rtol=tolerance, atol=tolerance)
    there, back = (NeuralODE(Contracted(field, rate), horizon=T, solver=solver) for T in (1.0, -1.0))
    with torch.no_grad():
        distance = (back(there(x0)) - x0).norm(dim=1).max().item()
    return distance, there.solver_error(x0, tolerance=1e-12).max().item()


def growth(errors: Mapping[float, np.ndarray]) -> dict[float, float]:
    """How much larger the distance after the way back is than the error before it: by rate, median over tolerances."""
    return {rate: float(np.median(found[:, 0] / found[:, 1])) for rate, found in errors.items()}


@torch.no_grad()
def depth_errors(field: Field, x0: State, exact: State, depths: Sequence[int] | np.ndarray) -> dict[str, list[float]]:
    """The worst sample's distance to the exact flow, by method and number of steps over T = 1."""
    return {
        method: [
            (NeuralODE(field, solver=Solver(method, steps=int(k)))(x0) - exact).norm(dim=1).max().item() for k in depths
        ]
        for method in METHODS
    }


def orders(depths: Sequence[int] | np.ndarray, errors: Mapping[str, Sequence[float]]) -> dict[str, float]:
    """The order of convergence of every method: minus the slope of error over depth, both logarithmic, at the end."""
    return {
        method: -float(np.polyfit(np.log(depths[-4:]), np.log(found[-4:]), 1)[0]) for method, found in errors.items()
    }


def saved(field: Field, x0: State, gradients: str, steps: int) -> tuple[int, Tensor]:
    """Distinct bytes that the forward pass of ``steps`` steps of rk4 saves for the backward pass, and the gradient.

    To show the methods by themselves, the adjoint keeps no checkpoints here, and the direct way is autograd's own: the
    library's kernels keep their buffers where autograd does not see them.
    """
    storages: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        storages[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    solver = Solver("rk4", steps=int(steps), gradients=gradients, checkpoints=0, kernels=False)
    model = NeuralODE(field, solver=solver)
    model.zero_grad()
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        end = model(x0)
    end.square().sum().backward()
    return sum(storages.values()), torch.cat([p.grad.reshape(-1) for p in model.parameters()])


def kilobytes(memory: Mapping[str, Sequence[tuple[int, Tensor]]]) -> dict[str, np.ndarray]:
    """What :func:`saved` counted, in KB."""
    return {gradients: np.array([size for size, _ in found]) / 1024 for gradients, found in memory.items()}


def disagreement(memory: Mapping[str, Sequence[tuple[int, Tensor]]]) -> list[float]:
    """The relative distance of the adjoint's gradient from the direct one, at every number of steps."""
    pairs = zip(memory["direct"], memory["adjoint"], strict=True)
    return [((a - d).norm() / d.norm()).item() for (_, d), (_, a) in pairs]


@torch.no_grad()
def bundles(fields: int, x0: State, t: Tensor) -> list[Tensor]:
    """Paths of ``x0`` under random fields on the line, by turns autonomous and dependent on time."""
    found = []
    for k in range(fields):
        field = (MLP if k % 2 == 0 else TimedMLP)(1, (16,))
        for parameter in field.parameters():
            nn.init.normal_(parameter)
        model = NeuralODE(field, solver=Solver(rtol=1e-9, atol=1e-9))
        found.append(model.trajectory(x0, t).x[..., 0])
    return found


def composes(flow: Callable[[float], nn.Module], x0: State) -> float:
    """The largest difference between Φ(Φ(x, 0.3), 0.7) and Φ(x, 1)."""
    with torch.no_grad():
        return (flow(0.7)(flow(0.3)(x0)) - flow(1.0)(x0)).abs().max().item()
