"""The convolutional block as vector field: 1×1 convolution, 3×3, 1×1, with ReLU between them (Section 4.2)."""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ncode.arguments import arguments, integer, one_of
from ncode.fields import kernels, per_sample
from ncode.fields.base import Field, Theta, not_called
from ncode.fields.mlp import ACTIVATIONS, activation_function

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
    (c, k, 1, 1), its biases ``reduce.bias`` and so on. A convolution may be replaced by
    another module, or have hooks, where nothing of it is steered: then it is called.
    """

    @arguments(
        channels=integer(1), size=integer(1), filters=integer(1), inputs=integer(0), activation=one_of(ACTIVATIONS)
    )
    def __init__(self, channels: int, size: int, *, filters: int = 50, inputs: int = 0, activation: str = "relu"):
        super().__init__((channels, size, size), slots={"u": (inputs, size, size)} if inputs else None)
        self.reduce = nn.Conv2d(channels + inputs, filters, 1)
        self.mix = nn.Conv2d(filters, filters, 3, padding=1)
        self.expand = nn.Conv2d(filters, channels, 1)
        self.activation = activation_function(activation)

    def forward(self, t: Tensor, x: Float[Tensor, "batch c h w"], theta: Theta) -> Float[Tensor, "batch c h w"]:
        if "u" in self.slots:
            x = torch.cat([x, theta["u"]], dim=1)
        for name in KERNELS:
            x = x if name == KERNELS[0] else self.activation(x)
            layer, steered = getattr(self, name), f"{name}.weight" in theta or f"{name}.bias" in theta
            if not _ordinary(layer) and not steered:
                # Called, a layer runs its hooks, and what a module in its place computes.
                x = layer(x)
                continue
            weight, bias = self.value(f"{name}.weight", theta), self.value(f"{name}.bias", theta)
            if steered and not _ordinary(layer):
                raise ValueError(not_called(name, layer))
            x = per_sample.conv2d(x, weight, bias)
        return x

    def scales(self, patterns: str | Iterable[str]) -> Float[Tensor, " m"]:
        """1/√(fan-in) of every control variable when ``patterns`` are steered: the size its convolution works at.

        Raises:
            ValueError: when a pattern matches nothing, or the slot ``u``, which no convolution has.
        """
        parts = []
        for name in self.names(patterns):
            if name in self.slots:
                raise ValueError(f"steer: {name} is a slot and no kernel, so it has no fan-in")
            weight = self.get_parameter(name.rpartition(".")[0] + ".weight")
            fan_in = math.prod(weight.shape[1:])
            parts.append(torch.full((self.get_parameter(name).numel(),), fan_in**-0.5))
        return torch.cat(parts)


def _ordinary(layer: nn.Module) -> bool:
    """Whether calling ``layer`` convolves with its kernels, and no more, as :func:`per_sample.conv2d` does."""
    own = {"forward": nn.Conv2d.forward, "_conv_forward": nn.Conv2d._conv_forward, "__call__": nn.Module.__call__}
    if not kernels.untouched(layer, **own):
        return False
    settings = layer.stride, layer.dilation, layer.groups, layer.padding_mode
    return settings == ((1, 1), (1, 1), 1, "zeros")
