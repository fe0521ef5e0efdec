"""Controllers: what sets a field's parameters θ for every sample.

Open loop, θ(0) = γ(x(0)) and θ' = 0. Closed loop, θ' = g(θ, x, t). Any module with the right shapes will do; here
are the paper's. A controller does not know which parameters it steers: it gives rows of m numbers, and
:class:`~ncode.flows.NCODE` cuts them.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ncode.fields import activation_function, layers


class OpenLoop(nn.Module):
    """γ, a multilayer perceptron that maps the initial state to the control: θ(0) = γ(x(0)) (Eq. 4).

    Its last layer starts small around one bias that all samples share, so that at first every sample's field is
    near an ordinary, well-initialised one. Without that the first losses explode.

    Args:
        inputs: size of one sample's x(0), flattened.
        outputs: m, the number of control variables: ``field.size(steer)``.
        hidden: widths of the hidden layers; none for a linear γ.
        activation: of the hidden layers.
        spread: standard deviation, over the initialisation, of what the last layer adds to its bias for an
            input of unit variance.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        hidden: Sequence[int] = (),
        activation: str = "tanh",
        spread: float = 0.1,
    ):
        super().__init__()
        self.layers = layers(inputs, hidden, outputs)
        self.activation = activation_function(activation)
        head = self.layers[-1]
        nn.init.normal_(head.weight, std=spread * head.in_features**-0.5)
        nn.init.zeros_(head.bias)

    def must_give(self, m: int) -> None:
        """Raise a ``ValueError`` where this γ gives another number of control variables than ``m``."""
        if m != self.layers[-1].out_features:
            raise ValueError(f"gamma: gives {self.layers[-1].out_features} control variables, {m} are steered")

    def start_from(self, theta: Float[Tensor, " m"]) -> None:
        """Make ``theta``, the field's own initial parameters, the control that all samples start around.

        Raises:
            ValueError: when this γ gives another number of control variables.
        """
        self.must_give(len(theta))
        with torch.no_grad():
            self.layers[-1].bias.copy_(theta)

    def forward(self, x: Float[Tensor, "batch *state"]) -> Float[Tensor, "batch m"]:
        return _perceptron(self.layers, self.activation, x.flatten(1))


class DataControl(nn.Module):
    """γ(x) = x: the data themselves are the control (data control, Section 3.1; Massaroli et al. 2020)."""

    def forward(self, x: Float[Tensor, "batch *state"]) -> Float[Tensor, "batch m"]:
        return x.flatten(1)


class ClosedLoop(nn.Module):
    """g, a multilayer perceptron that moves the control along the path: θ' = g(θ, x) (Eq. 4).

    Its last layer starts small, so that the control stays near where it began.

    Args:
        state: size of one sample's x, flattened.
        control: m, the number of control variables: ``field.size(steer)``.
        hidden: widths of the hidden layers.
        activation: of the hidden layers.
        spread: as in :class:`OpenLoop`.
    """

    def __init__(
        self,
        state: int,
        control: int,
        hidden: Sequence[int] = (32,),
        activation: str = "tanh",
        spread: float = 0.1,
    ):
        super().__init__()
        self.layers = layers(state + control, hidden, control)
        self.activation = activation_function(activation)
        head = self.layers[-1]
        nn.init.normal_(head.weight, std=spread * head.in_features**-0.5)
        nn.init.zeros_(head.bias)

    def forward(
        self, t: Tensor, x: Float[Tensor, "batch *state"], theta: Float[Tensor, "batch m"]
    ) -> Float[Tensor, "batch m"]:
        return _perceptron(self.layers, self.activation, torch.cat([x.flatten(1), theta], dim=1))


class VanDerPol(nn.Module):
    """g(θ, x) = μ(1 - x²)θ - x: with x' = θ, the Van der Pol oscillator x'' = μ(1 - x²)x' - x (Fig. 3).

    Args:
        mu: the initial μ of every sample: one number, or one per sample to fit several at once.
    """

    def __init__(self, mu: float | Float[Tensor, " batch"]):
        super().__init__()
        self.mu = nn.Parameter(torch.as_tensor(mu, dtype=torch.get_default_dtype()).clone())

    def forward(
        self, t: Tensor, x: Float[Tensor, "batch 1"], theta: Float[Tensor, "batch 1"]
    ) -> Float[Tensor, "batch 1"]:
        return self.mu.reshape(-1, 1) * (1 - x**2) * theta - x


def _perceptron(stack: nn.ModuleList, activation, x: Tensor) -> Tensor:
    for i, layer in enumerate(stack):
        x = layer(x if i == 0 else activation(x))
    return x
