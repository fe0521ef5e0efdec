"""N-CODE on images: the convolutional block as vector field, and the controller that sets its kernels.

The block is the paper's (Section 4.2): 1×1 convolution, 3×3, 1×1, with ReLU between them. It maps c channels to c
channels; an augmented state has zeros in its last channels at first (:func:`augment`).
"""

from __future__ import annotations

import math

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from ncode.arguments import arguments, integer, tensor
from ncode.fields.conv import ConvBlock


@arguments(x=tensor(None, None, None, None, finite=False), channels=integer(0))
def augment(x: Float[Tensor, "batch c h w"], channels: int) -> Float[Tensor, "batch d h w"]:
    """``x`` with ``channels`` channels of zeros behind its own."""
    return F.pad(x, (0, 0, 0, 0, 0, channels))


class ResNet(nn.Module):
    """x_{l+1} = x_l + f(x_l, θ_l), one set of parameters a layer (Eq. 3): what a neural ODE is the limit of.

    Args:
        channels, size, filters: of each layer's :class:`ConvBlock`.
        depth: number of layers.
    """

    @arguments(depth=integer(1))
    def __init__(self, channels: int, size: int, filters: int, depth: int):
        super().__init__()
        self.blocks = nn.ModuleList(ConvBlock(channels, size, filters=filters) for _ in range(depth))

    def forward(self, x: Float[Tensor, "batch c h w"]) -> Float[Tensor, "batch c h w"]:
        for layer, block in enumerate(self.blocks):
            x = x + block(x.new_tensor(layer), x, {})
        return x


class Another(nn.Module):
    """Each image's row of pixels, given to the next image of the batch: what says nothing about the image itself."""

    def forward(self, x: Float[Tensor, "batch c h w"]) -> Float[Tensor, "batch n"]:
        return x.flatten(1).roll(1, 0)


class Nothing(nn.Module):
    """The same number for every image."""

    def forward(self, x: Float[Tensor, "batch c h w"]) -> Float[Tensor, "batch 1"]:
        return x.new_zeros(len(x), 1)


@arguments(channels=integer(1))
def reading(what: str, channels: int) -> nn.Module:
    """What γ reads of an image: its ``"pixels"``, ``"convolutions"`` of it, ``"another"`` of its batch, ``"nothing"``.

    The convolutions are two layers of 8 and 16 channels, each half the size of what it reads, averaged over quarters.

    Raises:
        ValueError: when ``what`` is none of these.
    """
    if what == "pixels":
        return nn.Flatten()
    if what == "convolutions":
        first, second = nn.Conv2d(channels, 8, 3, 2, 1), nn.Conv2d(8, 16, 3, 2, 1)
        return nn.Sequential(first, nn.ReLU(), second, nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten())
    if what == "another":
        return Another()
    if what == "nothing":
        return Nothing()
    raise ValueError(f"what: {what!r} is not one of pixels, convolutions, another, nothing")


@arguments(parameters=integer(1, 10**12), channels=integer(1), inputs=integer(0))
def filters_for(parameters: int, channels: int, inputs: int = 0) -> int:
    """The number of filters that gives a :class:`ConvBlock` as nearly as possible ``parameters`` parameters."""

    def count(k: int) -> int:
        return (channels + inputs) * k + 9 * k * k + channels * k + 2 * k + channels

    return min(range(1, 1 + math.isqrt(parameters)), key=lambda k: abs(count(k) - parameters))
