"""The smallest vector fields: x' = θx and x' = θ."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ncode.arguments import arguments, integer
from ncode.fields import kernels, per_sample
from ncode.fields.base import Field, Theta


class Linear(Field):
    """The linear vector field x' = θx (Eq. 9), with the matrix θ called ``matrix``.

    Args:
        dim: dimension of the state; θ is dim × dim, and starts at zero.
    """

    @arguments(dim=integer(1))
    def __init__(self, dim: int):
        super().__init__(shape=(dim,))
        self.matrix = nn.Parameter(torch.zeros(dim, dim))

    def forward(self, t: Tensor, x: Float[Tensor, "batch dim"], theta: Theta) -> Float[Tensor, "batch dim"]:
        return per_sample.linear(x, self.value("matrix", theta))

    def bind(self, x, theta, u=None, moving=False):
        if not self._computes(Linear.forward) or not kernels.plain(x):
            return None
        plan, rest = kernels.plan(self, [("matrix", None)], self.steered)
        return kernels.perceptron(plan, rest, None, x, x.shape[1], theta, moving=moving)


class Velocity(Field):
    """x' = θ: the control is the velocity itself, called ``velocity``. Proposition 1's field.

    Args:
        dim: dimension of the state.
    """

    @arguments(dim=integer(1))
    def __init__(self, dim: int):
        super().__init__(shape=(dim,))
        self.velocity = nn.Parameter(torch.zeros(dim))

    def forward(self, t: Tensor, x: Float[Tensor, "batch dim"], theta: Theta) -> Float[Tensor, "batch dim"]:
        return self.value("velocity", theta).expand_as(x)
