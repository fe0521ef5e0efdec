"""Controllers: what sets a field's parameters θ for every sample.

Open loop, θ(0) = γ(x(0)) and θ' = 0. Closed loop, θ' = g(θ, x, t). Any module with the right shapes will do; here
are the paper's. A controller does not know which parameters it steers: it gives rows of m numbers, and
:class:`~ncode.models.NCODE` cuts them.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ncode.arguments import arguments, instance, integer, integers, one_of, optional, real, words
from ncode.fields.conv import ConvBlock
from ncode.fields.mlp import ACTIVATIONS, activation_function, layers


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

    @arguments(
        inputs=integer(1),
        outputs=integer(1),
        hidden=integers(1),
        activation=one_of(ACTIVATIONS),
        spread=real(least=0),
    )
    def __init__(
        self,
        inputs: int,
        outputs: int,
        *,
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

    @arguments(
        state=integer(1),
        control=integer(1),
        hidden=integers(1),
        activation=one_of(ACTIVATIONS),
        spread=real(least=0),
    )
    def __init__(
        self,
        state: int,
        control: int,
        *,
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


def _perceptron(stack: nn.ModuleList, activation, x: Tensor) -> Tensor:
    for i, layer in enumerate(stack):
        x = layer(x if i == 0 else activation(x))
    return x


class KernelController(OpenLoop):
    """γ for a :class:`ConvBlock`: from the image to its kernels, through a few hidden units and one head each.

    The paper says both "a two-layer perceptron" and "a linear transformation into 10 hidden units with multiple
    heads": ``activation="tanh"`` or ``"relu"`` is the first reading, ``None`` the second. Both are one matrix into
    the hidden units and one out of them.

    The heads decide whether training starts at all. They share a bias, the block's own initialisation, so that every
    sample starts near an ordinary convolution; what they add to it per sample has, for hidden units of unit
    variance, a standard deviation of ``spread``/√(fan-in) in every kernel. With PyTorch's own initialisation the
    first losses explode, up to 1e17.

    Args:
        field: whose kernels are steered; not yet released.
        steer: which, as for :class:`~ncode.models.NCODE`.
        channels: of the image: the first channels of x(0). Channels after them are augmentation and not read.
        hidden: number of hidden units (the paper: 10).
        activation: of the hidden units; ``None`` for a linear γ.
        spread: see above.
        dropout: share of the hidden units that training drops at random, one draw a sample and solve.

    Attributes:
        scales: 1/√(fan-in) of every control variable (see :meth:`ConvBlock.scales`).
    """

    @arguments(
        field=instance(ConvBlock),
        steer=words,
        channels=integer(1),
        hidden=integer(1),
        activation=optional(one_of(ACTIVATIONS)),
        spread=real(least=0),
        dropout=real(least=0, below=1),
    )
    def __init__(
        self,
        field: ConvBlock,
        *,
        steer: str | Iterable[str],
        channels: int,
        hidden: int = 10,
        activation: str | None = "tanh",
        spread: float = 1.0,
        dropout: float = 0.0,
    ):
        if channels > field.shape[0]:
            raise ValueError(f"channels: must be at most the state's {field.shape[0]}, not {channels}")
        scales = field.scales(steer)
        super().__init__(channels * math.prod(field.shape[1:]), len(scales), hidden=(hidden,), spread=1.0)
        self.channels = channels
        self.activation = activation_function(activation) if activation else _identity
        self.dropout = nn.Dropout(dropout) if dropout else nn.Identity()
        self.register_buffer("scales", scales, persistent=False)
        with torch.no_grad():
            self.layers[-1].weight.mul_(spread * scales.unsqueeze(1))

    def forward(self, x: Float[Tensor, "batch c h w"]) -> Float[Tensor, "batch m"]:
        units, heads = self.layers
        return heads(self.dropout(self.activation(units(x[:, : self.channels].flatten(1)))))


class ImageControl(nn.Module):
    """γ(x) = x without its augmentation: data control on images, as the slot ``u`` of a :class:`ConvBlock`.

    Args:
        channels: of the image: the first channels of x(0).
    """

    @arguments(channels=integer(1))
    def __init__(self, channels: int):
        super().__init__()
        self.channels = channels

    def forward(self, x: Float[Tensor, "batch c h w"]) -> Float[Tensor, "batch m"]:
        return x[:, : self.channels].flatten(1)


def _identity(x: Tensor) -> Tensor:
    return x
