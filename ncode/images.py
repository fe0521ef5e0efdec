"""N-CODE on images: the convolutional block as vector field, and the controller that sets its kernels.

The block is the paper's (Section 4.2): 1×1 convolution, 3×3, 1×1, with ReLU between them. It maps c channels to c
channels; an augmented state has zeros in its last channels at first (:func:`augment`).
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from ncode import functional
from ncode.control import OpenLoop
from ncode.fields import Field, Theta, activation_function

KERNELS = ("reduce", "mix", "expand")
"""The block's convolutions by name, in order: 1×1, 3×3, 1×1."""


class ConvBlock(Field):
    """f(x, θ) = K₃ ∗ σ(K₂ ∗ σ(K₁ ∗ [x : u] + b₁) + b₂) + b₃ with kernels of size 1, 3 and 1, zero-padded.

    Args:
        channels: c, of the state.
        size: height and width of the state, in pixels.
        filters: k, channels between the convolutions (the paper: 50).
        inputs: channels of the slot ``u``, an image beside x that a controller must fill; 0 for none.
        activation: ``"relu"`` (the paper), ``"tanh"`` or ``"softplus"``.

    Its kernels are called ``reduce.weight`` (k, c + inputs, 1, 1), ``mix.weight`` (k, k, 3, 3) and ``expand.weight``
    (c, k, 1, 1), its biases ``reduce.bias`` and so on.
    """

    def __init__(self, channels: int, size: int, filters: int = 50, inputs: int = 0, activation: str = "relu"):
        super().__init__((channels, size, size), {"u": (inputs, size, size)} if inputs else None)
        self.reduce = nn.Conv2d(channels + inputs, filters, 1)
        self.mix = nn.Conv2d(filters, filters, 3)
        self.expand = nn.Conv2d(filters, channels, 1)
        self.activation = activation_function(activation)

    def forward(self, t: Tensor, x: Float[Tensor, "batch c h w"], theta: Theta) -> Float[Tensor, "batch c h w"]:
        if "u" in self.slots:
            x = torch.cat([x, theta["u"]], dim=1)
        for name in KERNELS:
            weight, bias = self.value(f"{name}.weight", theta), self.value(f"{name}.bias", theta)
            x = functional.conv2d(x if name == KERNELS[0] else self.activation(x), weight, bias)
        return x

    def scales(self, patterns: str | Iterable[str]) -> Float[Tensor, " m"]:
        """1/√(fan-in) of every control variable when ``patterns`` are steered: the size its convolution works at."""
        parts = []
        for name in self.names(patterns):
            weight = self.get_parameter(name.rpartition(".")[0] + ".weight")
            fan_in = math.prod(weight.shape[1:])
            parts.append(torch.full((self.get_parameter(name).numel(),), fan_in**-0.5))
        return torch.cat(parts)


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
        steer: which, as for :class:`~ncode.flows.NCODE`.
        channels: of the image: the first channels of x(0). Channels after them are augmentation and not read.
        hidden: number of hidden units (the paper: 10).
        activation: of the hidden units; ``None`` for a linear γ.
        spread: see above.
        dropout: share of the hidden units that training drops at random, one draw a sample and solve.

    Attributes:
        scales: 1/√(fan-in) of every control variable (see :meth:`ConvBlock.scales`).
    """

    def __init__(
        self,
        field: ConvBlock,
        steer: str | Iterable[str],
        channels: int,
        hidden: int = 10,
        activation: str | None = "tanh",
        spread: float = 1.0,
        dropout: float = 0.0,
    ):
        scales = field.scales(steer)
        super().__init__(channels * math.prod(field.shape[1:]), len(scales), (hidden,), spread=1.0)
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

    def __init__(self, channels: int):
        super().__init__()
        self.channels = channels

    def forward(self, x: Float[Tensor, "batch c h w"]) -> Float[Tensor, "batch m"]:
        return x[:, : self.channels].flatten(1)


def augment(x: Float[Tensor, "batch c h w"], channels: int) -> Float[Tensor, "batch d h w"]:
    """``x`` with ``channels`` channels of zeros behind its own."""
    return F.pad(x, (0, 0, 0, 0, 0, channels))


class ResNet(nn.Module):
    """x_{l+1} = x_l + f(x_l, θ_l), one set of parameters a layer (Eq. 3): what a neural ODE is the limit of.

    Args:
        channels, size, filters: of each layer's :class:`ConvBlock`.
        depth: number of layers.
    """

    def __init__(self, channels: int, size: int, filters: int, depth: int):
        super().__init__()
        self.blocks = nn.ModuleList(ConvBlock(channels, size, filters) for _ in range(depth))

    def forward(self, x: Float[Tensor, "batch c h w"]) -> Float[Tensor, "batch c h w"]:
        for layer, block in enumerate(self.blocks):
            x = x + block(x.new_tensor(layer), x, {})
        return x


def filters_for(parameters: int, channels: int, inputs: int = 0) -> int:
    """The number of filters that gives a :class:`ConvBlock` as nearly as possible ``parameters`` parameters."""

    def count(k: int) -> int:
        return (channels + inputs) * k + 9 * k * k + channels * k + 2 * k + channels

    return min(range(1, 1 + math.isqrt(parameters)), key=lambda k: abs(count(k) - parameters))


def _identity(x: Tensor) -> Tensor:
    return x
