"""Section 3 of the paper, measured on random models: unique solutions, paths that cross, and data control."""

from __future__ import annotations

import itertools

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ncode.controllers import DataControl, OpenLoop
from ncode.fields.mlp import MLP
from ncode.models import NCODE, DataControlledODE, Flow


def coupled(path) -> Float[Tensor, "time n m"]:
    """z = (x, θ) along a path; x alone where nothing is steered."""
    return path.x if path.theta is None else torch.cat([path.x, path.theta], dim=2)


def crossings(path) -> tuple[int, float]:
    """Pairs whose scalar x changes order, and how near z of any pair comes, as a share of its first distance."""
    z, crossed, nearest = coupled(path), 0, float("inf")
    for i, j in itertools.combinations(range(path.x.shape[1]), 2):
        difference = (path.x[:, i] - path.x[:, j])[:, 0]
        crossed += bool((difference.sign() != difference[0].sign()).any())
        distance = (z[:, i] - z[:, j]).norm(dim=1)
        nearest = min(nearest, (distance / distance[0]).min().item())
    return crossed, nearest


class Replayed(nn.Module):
    """g of one sample, imposed on all: every sample gets the middle one's θ'.

    Args:
        g: the controller that is replayed.
    """

    def __init__(self, g: nn.Module):
        super().__init__()
        self.g = g

    def forward(self, t, x, theta):
        return self.g(t, x, theta)[len(x) // 2].expand_as(theta)


@torch.no_grad()
def change_of_field(model: Flow, x0: Float[Tensor, "n dim"], horizon: float) -> float:
    """How much the field that a sample sees differs between times 0 and ``horizon``, as a share of its size at 0.

    Both fields are taken at the states ``x0``; the smallest share of any sample.
    """
    t, shares = x0.new_zeros(()), []
    for first, last in model.trajectory(x0, [0.0, horizon]).theta.transpose(0, 1):
        before, after = (model.field(t, x0, model.field.unpack(one.expand(len(x0), -1))) for one in (first, last))
        shares.append(((after - before).norm() / before.norm()).item())
    return min(shares)


@torch.no_grad()
def as_slot(data: DataControlledODE, dim: int, hidden: int) -> NCODE:
    """Data control written as γ(x) = x into the slot u of f([x : u]), with the same weights."""
    field = MLP(dim, (hidden,), inputs=dim)
    field.load_state_dict(data.field.state_dict())
    return NCODE(field, gamma=DataControl(), steer="u", horizon=data.horizon, solver=data.solver)


@torch.no_grad()
def as_bias(data: DataControlledODE, dim: int, hidden: int) -> NCODE:
    """Data control written as a linear γ on the first bias: W[x : x₀] + b = W_x x + (W_x₀ x₀ + b)."""
    field, gamma = MLP(dim, (hidden,)), OpenLoop(dim, hidden)
    # Built first: a new model starts from the field's own bias.
    model = NCODE(field, gamma=gamma, steer="layers.0.bias", horizon=data.horizon, solver=data.solver)
    own, seen = data.field.layers[0].weight.split(dim, dim=1)
    field.layers[0].weight.copy_(own)
    field.layers[1].load_state_dict(data.field.layers[1].state_dict())
    gamma.layers[0].weight.copy_(seen)
    gamma.layers[0].bias.copy_(data.field.layers[0].bias)
    return model


def difference(model: Flow, other: Flow, x0: Float[Tensor, "n dim"]) -> float:
    """The largest difference of two models' ends, or of the gradients of a scalar of them with respect to x(0)."""
    ends = [each(x0) for each in (model, other)]
    gradients = [_gradient(each, x0) for each in (model, other)]
    return max((a - b).abs().max().item() for a, b in (ends, gradients))


def _gradient(model: Flow, x0: Tensor) -> Tensor:
    """It passes through the path and through the controller."""
    x = x0.clone().requires_grad_()
    model(x).square().sum(1).sin().sum().backward()
    return x.grad
