"""Encoders and decoders of the autoencoders: Table A.1's networks, Ghosh et al.'s (2020), and perceptrons."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

from torch import nn

from ncode.arguments import arguments, instance, integer, integers, optional, real


@dataclass(frozen=True)
class Architecture:
    """The networks for one data set, at full width.

    Attributes:
        channels, size: of the images.
        encoder: channels of the encoder's convolutions, each of stride 2, with batch normalisation and ReLU. Table A.1
            prints the last three of them; Ghosh et al. (2020), whose networks it adapts, have all four.
        decoder: channels of the decoder's transposed convolutions of stride 2; a convolution of stride 1 ends it.
            Table A.1 prints two, which make 32×32 of its 8×8; for CelebA's 64×64 Ghosh et al.'s third is needed.
        kernel: side of all kernels but the decoder's last, which is 3 where this is 4: an even one cannot keep the
            size at stride 1.
        latent: what the decoder is given.
        hidden: units of the perceptrons that Table A.1 prints for MNIST; none where it prints convolutions.
    """

    channels: int
    size: int
    encoder: tuple[int, ...]
    decoder: tuple[int, ...]
    kernel: int
    latent: int
    hidden: tuple[int, ...] = ()

    def __post_init__(self):
        for name in ("channels", "size", "kernel", "latent"):
            integer(1)(name, getattr(self, name))
        for name in ("encoder", "decoder", "hidden"):
            integers(1)(name, getattr(self, name))


ARCHITECTURES = {
    "mnist": Architecture(1, 28, (128, 256, 512, 1024), (512, 256), 4, 25, (400,)),
    "cifar10": Architecture(3, 32, (128, 256, 512, 1024), (512, 256), 4, 128),
    "celeba": Architecture(3, 64, (128, 256, 512, 1024), (512, 256, 128), 5, 64),
}

HIDDEN = (512, 256)
"""Hidden units of the perceptrons that take the convolutions' place where those would train for hours."""

KINDS = ("printed", "convolutional", "perceptron")
"""Kinds of networks; see :func:`networks`."""

BATCH_NORMS = ("", "hidden", "code", "all")
"""Where the printed networks for MNIST may have a batch normalisation; see :func:`networks`."""


@arguments(
    architecture=instance(Architecture), width=real(above=0, most=1000), code=integer(1), latent=optional(integer(1))
)
def networks(
    architecture: Architecture,
    width: float,
    code: int,
    latent: int | None = None,
    kind: str = "convolutional",
    batch_norm: str = "",
) -> tuple[nn.Module, nn.Module]:
    """An encoder, from images to ``code`` numbers, and a decoder, from ``latent`` numbers to images.

    Args:
        architecture: one of :data:`ARCHITECTURES`.
        width: factor on all channels, or on the perceptrons' hidden units.
        code: outputs of the encoder.
        latent: inputs of the decoder; ``code`` where it is not given.
        kind: ``"printed"``, Table A.1's: a perceptron for MNIST, three convolutions for the others;
            ``"convolutional"``, Ghosh et al.'s (2020): four convolutions for every data set; or ``"perceptron"``, of
            :data:`HIDDEN` units and back.
        batch_norm: of a printed perceptron. Table A.1 shows none (``""``), C.4's text has one in "all layers":
            ``"hidden"`` layers, the ``"code"`` where the table says Norm, or ``"all"`` of these.

    The decoder gives logits: a sigmoid makes them images.

    Raises:
        ValueError: when there is no such kind, or no such batch normalisation of that kind.
    """
    latent = latent or code
    if kind not in KINDS:
        raise ValueError(f"kind: {kind!r} is not one of {', '.join(KINDS)}")
    printed = kind == "printed"
    if batch_norm not in BATCH_NORMS or (batch_norm and not (printed and architecture.hidden)):
        raise ValueError(f"batch_norm: {batch_norm!r} is not one of {BATCH_NORMS} of a printed perceptron")
    if printed and architecture.hidden:
        hidden = [_scaled(units, width) for units in architecture.hidden]
        encoder, decoder = _perceptrons(architecture, hidden, code, latent, batch_norm in ("hidden", "all"))
        if batch_norm in ("code", "all"):
            encoder.append(nn.BatchNorm1d(code, affine=False))
        return encoder, decoder
    if kind == "perceptron":
        return _perceptrons(architecture, [_scaled(units, width) for units in HIDDEN], code, latent)
    down = [_scaled(channels, width) for channels in architecture.encoder[printed:]]
    up = [_scaled(channels, width) for channels in architecture.decoder]
    return _encoder(architecture, down, code), _decoder(architecture, down[-1], up, latent, rectified=not printed)


def _encoder(architecture: Architecture, filters: Sequence[int], code: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    channels, size, kernel = architecture.channels, architecture.size, architecture.kernel
    padding = (kernel - 1) // 2
    for out in filters:
        layers += [nn.Conv2d(channels, out, kernel, 2, padding), nn.BatchNorm2d(out), nn.ReLU()]
        channels, size = out, (size + 2 * padding - kernel) // 2 + 1
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(channels * size * size, code))


def _decoder(
    architecture: Architecture, channels: int, filters: Sequence[int], latent: int, rectified: bool
) -> nn.Sequential:
    kernel = architecture.kernel
    size = architecture.size // 2 ** len(filters)
    layers: list[nn.Module] = [
        nn.Linear(latent, channels * size * size),
        nn.Unflatten(1, (channels, size, size)),
        nn.BatchNorm2d(channels),
        # Table A.1 prints no ReLU behind the first normalisation, Ghosh et al. have one.
        *([nn.ReLU()] if rectified else []),
    ]
    # An odd kernel needs a pixel of output padding to double the size.
    padding, extra = (kernel - 1) // 2, kernel % 2
    for out in filters:
        layers += [nn.ConvTranspose2d(channels, out, kernel, 2, padding, extra), nn.BatchNorm2d(out), nn.ReLU()]
        channels = out
    last = kernel - 1 + kernel % 2
    return nn.Sequential(*layers, nn.Conv2d(channels, architecture.channels, last, padding=last // 2))


def _perceptrons(
    architecture: Architecture, hidden: Sequence[int], code: int, latent: int, batch_norm: bool = True
) -> tuple[nn.Sequential, nn.Sequential]:
    shape = (architecture.channels, architecture.size, architecture.size)

    def stack(*sizes: int) -> list[nn.Module]:
        *inner, last = itertools.pairwise(sizes)
        norms = [[nn.BatchNorm1d(b)] if batch_norm else [] for _, b in inner]
        hidden_layers = [[nn.Linear(a, b), *norm, nn.ReLU()] for (a, b), norm in zip(inner, norms, strict=True)]
        return [*itertools.chain.from_iterable(hidden_layers), nn.Linear(*last)]

    encoder = nn.Sequential(nn.Flatten(), *stack(math.prod(shape), *hidden, code))
    return encoder, nn.Sequential(*stack(latent, *hidden[::-1], math.prod(shape)), nn.Unflatten(1, shape))


def _scaled(channels: int, width: float) -> int:
    return max(1, round(channels * width))
