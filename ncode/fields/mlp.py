"""Multilayer perceptrons as vector fields."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import cast

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ncode.arguments import arguments, integer, integers, one_of
from ncode.fields import kernels, per_sample
from ncode.fields.base import Field, Theta, not_called

ACTIVATIONS = {"tanh": torch.tanh, "relu": torch.relu, "softplus": nn.functional.softplus}


class MLP(Field):
    """A multilayer perceptron as vector field, autonomous: f(x, θ) = W_L σ(… σ(W_1 [x : u] + b_1) …) + b_L.

    Args:
        dim: dimension of the state x.
        hidden: widths of the hidden layers.
        activation: ``"tanh"``, ``"relu"`` or ``"softplus"``.
        inputs: size of the slot ``u``, an input beside x that a controller must fill; 0 for none.

    Its parameters are called ``layers.0.weight``, ``layers.0.bias``, …. A layer may be replaced by another module, or
    have hooks, where nothing of it is steered: then it is called, and there is no kernel.
    """

    @arguments(dim=integer(1), hidden=integers(1), activation=one_of(ACTIVATIONS), inputs=integer(0))
    def __init__(self, dim: int, hidden: Sequence[int] = (32,), *, activation: str = "tanh", inputs: int = 0):
        super().__init__(shape=(dim,), slots={"u": (inputs,)} if inputs else None)
        self.layers = layers(dim + inputs, hidden, dim)
        self.activation = activation_function(activation)

    def forward(self, t: Tensor, x: Float[Tensor, "batch dim"], theta: Theta) -> Float[Tensor, "batch dim"]:
        return self._perceptron(torch.cat([x, theta["u"]], dim=1) if "u" in self.slots else x, theta)

    def bind(self, x, theta, u=None, moving=False):
        forward = type(self).forward
        own = forward in (MLP.forward, TimedMLP.forward) and self._computes(forward, _perceptron=MLP._perceptron)
        if not own or not all(map(kernels.untouched_linear, self.layers)) or not kernels.plain(x):
            return None
        if moving and "u" in self.slots:
            return None
        names = [(f"layers.{i}.weight", f"layers.{i}.bias") for i in range(len(self.layers))]
        start = kernels.starts(self.steered)
        if theta is not None and "u" in start:
            u = theta[:, start["u"] : start["u"] + self.slots["u"][0]]
        plan, rest = kernels.plan(self, names, self.steered)
        timed = forward is TimedMLP.forward
        return kernels.perceptron(plan, rest, self.activation, x, x.shape[1], theta, u, timed, moving)

    def _perceptron(self, x: Tensor, theta: Theta) -> Tensor:
        for i, layer in enumerate(self.layers):
            x = x if i == 0 else self.activation(x)
            names = f"layers.{i}.weight", f"layers.{i}.bias"
            if names[0] in theta or names[1] in theta:
                values = [self.value(name, theta) for name in names]
                if not kernels.untouched_linear(layer):
                    raise ValueError(not_called(f"layers.{i}", layer))
                x = per_sample.linear(x, *values)
            else:
                # Called, a layer runs its hooks.
                x = layer(x)
        return x


class TimedMLP(MLP):
    """A multilayer perceptron that sees the time as well, f(t, x, θ): its first layer reads [x : t].

    Args:
        dim, hidden, activation: as for :class:`MLP`.
    """

    def __init__(self, dim: int, hidden: Sequence[int] = (32,), *, activation: str = "tanh"):
        super().__init__(dim, hidden, activation=activation)
        self.layers = layers(dim + 1, hidden, dim)

    def forward(self, t: Tensor, x: Float[Tensor, "batch dim"], theta: Theta) -> Float[Tensor, "batch dim"]:
        return self._perceptron(torch.cat([x, t.expand(x.shape[0], 1)], dim=1), theta)


@arguments(inputs=integer(1), hidden=integers(1), outputs=integer(1))
def layers(inputs: int, hidden: Sequence[int], outputs: int) -> nn.ModuleList:
    """The linear layers of a multilayer perceptron, with PyTorch's initialisation."""
    sizes = [inputs, *hidden, outputs]
    return nn.ModuleList(nn.Linear(a, b) for a, b in itertools.pairwise(sizes))


def last(layers: nn.ModuleList) -> nn.Linear:
    """The layer whose output is the perceptron's."""
    return cast(nn.Linear, layers[-1])


@arguments(activation=one_of(ACTIVATIONS))
def activation_function(activation: str) -> Callable[[Tensor], Tensor]:
    """The activation called ``activation``.

    Raises:
        ValueError: when there is none.
    """
    return ACTIVATIONS[activation]
