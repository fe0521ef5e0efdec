"""AutoN-CODE (Sections 4.4, 4.5, C.4) and the autoencoders it is compared with, behind one interface.

======================================  =======================================================================
:class:`Autoencoder`                    the latent is the code; with another code size, the double-size one
:class:`AutoNCODE`                      the code is a control θ; the latent is x(T) of x' = θx from a shared x(0)
:class:`LinearBottleneck`               the same encoder and decoder with a learned linear map in the flow's place
:class:`MappedControl`                  the same with a learned linear map of the normalised control
:class:`VariationalAutoencoder`         Kingma and Welling (2014)
:class:`SparseAutoencoder`              Ng (2011): units that are seldom on
:class:`DenoisingAutoencoder`           Vincent et al. (2008)
======================================  =======================================================================

Images are floats in [0, 1], (batch, channels, height, width). Losses are in nats an image.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn
from torch.nn import functional as F

from ncode.arguments import arguments, flag, instance, integer, integers, one_of, optional, real
from ncode.solvers.linear import dense, sparse_linear_flow

Images = Float[Tensor, "batch channels height width"]


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

LIKELIHOODS = ("bernoulli", "gaussian", "mse")

NORMALISATIONS = ("none", "tanh", "row", "sample", "batch")
"""What may keep the control bounded; see :class:`AutoNCODE`."""


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


class Autoencoder(nn.Module):
    """An encoder, a decoder, and the negative log-likelihood of the image between them.

    Args:
        encoder, decoder: see :func:`networks`.
        likelihood: ``"bernoulli"``, the cross-entropy of grey levels read as probabilities; ``"gaussian"``, with
            the one variance for all pixels that fits the batch best, so that D/2·log(2πe·MSE) nats are the loss of
            an image of D numbers (Rybkin et al. 2021) and no weight has to be chosen; or ``"mse"``, a Gaussian of
            variance 1 without its constant, D/2·MSE. Images outside [0, 1] give the first a plausible value that is
            no likelihood; nothing checks for them, since that would cost every step of training a look at the batch.

    Raises:
        ValueError: when there is no such likelihood.
    """

    @arguments(encoder=instance(nn.Module), decoder=instance(nn.Module), likelihood=one_of(LIKELIHOODS))
    def __init__(self, encoder: nn.Module, decoder: nn.Module, likelihood: str = "bernoulli"):
        super().__init__()
        if likelihood not in LIKELIHOODS:
            raise ValueError(f"likelihood: {likelihood!r} is not one of {', '.join(LIKELIHOODS)}")
        self.encoder, self.decoder, self.likelihood = encoder, decoder, likelihood

    def encode(self, x: Images) -> Float[Tensor, "batch code"]:
        """The code of every image."""
        return self.encoder(x)

    def latent(self, code: Float[Tensor, "batch code"]) -> Float[Tensor, "batch latent"]:
        """What the decoder is given for a code: the embedding that densities are fitted to and that is clustered."""
        return code

    def decode(self, latent: Float[Tensor, "batch latent"]) -> Images:
        """The image of a latent."""
        return torch.sigmoid(self.decoder(latent))

    def forward(self, x: Images) -> Images:
        """The reconstruction."""
        return self.decode(self.latent(self.encode(x)))

    def loss(self, x: Images) -> tuple[Tensor, dict[str, float]]:
        """What training minimises, in nats an image, and what to keep beside it."""
        nats = self.negative_log_likelihood(self.decoder(self.latent(self.encode(x))), x)
        return nats, {"nats": nats.item()}

    def negative_log_likelihood(self, logits: Images, x: Images) -> Tensor:
        """Mean over the batch of -log p(x | logits), in nats an image."""
        if self.likelihood == "bernoulli":
            return F.binary_cross_entropy_with_logits(logits, x, reduction="sum") / len(x)
        error = (torch.sigmoid(logits) - x).square().mean()
        return 0.5 * x[0].numel() * (error if self.likelihood == "mse" else torch.log(2 * math.pi * math.e * error))


class AutoNCODE(Autoencoder):
    """The code drives a linear flow, and what is decoded is its end: x(T) of x' = θx (Sections 4.4 and C.4).

    θ has k entries in every row and every column, at places that are fixed at random and shared by all samples. The
    start x(0) ~ N(0, I) is drawn once and shared by all samples too, so an image is its control.

    Args:
        encoder: from images to k·latent numbers, the code.
        decoder: from ``latent`` numbers.
        latent: m, the flow's dimension.
        entries: k, the number in every row and column.
        normalisation: from the code to θ's entries, all of the scale ``scale``: ``"none"``; ``"tanh"`` of every
            entry; ``"row"`` divides each row by its Euclidean norm, ``"sample"`` all entries by their root mean
            square; ``"batch"`` standardises every entry over the batch, as batch normalisation does.
        scale: of the entries.
        horizon: T, where the flow ends.
        redraw: draw x(0) anew for every batch of training, so that no code can count on it; in evaluation mode it is
            always the one drawn first.
        likelihood: see :class:`Autoencoder`.

    Raises:
        ValueError: when there is no such normalisation.
    """

    x0: Float[Tensor, " m"]
    columns: Int64[Tensor, "k m"]

    @arguments(
        latent=integer(1),
        entries=integer(1),
        normalisation=one_of(NORMALISATIONS),
        scale=real(),
        horizon=real(least=0),
        redraw=flag,
    )
    def __init__(
        self,
        encoder: nn.Module,
        decoder: nn.Module,
        latent: int,
        entries: int = 2,
        normalisation: str = "row",
        scale: float = 0.2,
        horizon: float = 10.0,
        redraw: bool = False,
        likelihood: str = "bernoulli",
    ):
        super().__init__(encoder, decoder, likelihood)
        if normalisation not in NORMALISATIONS:
            raise ValueError(f"normalisation: {normalisation!r} is not one of {', '.join(NORMALISATIONS)}")
        if entries > latent:
            raise ValueError(f"entries: must lie between 1 and latent = {latent}, not {entries}")
        self.shape = (entries, latent)
        self.normalisation, self.scale, self.horizon, self.redraw = normalisation, scale, horizon, redraw
        if normalisation == "batch":
            self.standardise = nn.BatchNorm1d(entries * latent, affine=False)
        self.register_buffer("x0", torch.randn(latent))
        self.register_buffer("columns", scattered(entries, latent))

    def control(self, code: Float[Tensor, "batch code"]) -> Float[Tensor, "batch k m"]:
        """θ's entries: what :func:`ncode.solvers.linear.sparse_linear_flow` is given.

        Raises:
            ValueError: when a code has not k·m numbers.
        """
        size = math.prod(self.shape)
        if tuple(code.shape[1:]) != (size,):
            raise ValueError(f"encoder: must give {size} numbers an image, not {', '.join(map(str, code.shape[1:]))}")
        # Under autocast the encoder gives another type than x(0)'s.
        entries = code.unflatten(1, self.shape).to(self.x0.dtype)
        if self.normalisation == "tanh":
            entries = entries.tanh()
        elif self.normalisation == "row":
            entries = F.normalize(entries, dim=1)
        elif self.normalisation == "sample":
            entries = math.sqrt(entries[0].numel()) * F.normalize(entries.flatten(1)).unflatten(1, self.shape)
        elif self.normalisation == "batch":
            entries = self.standardise(entries.flatten(1)).unflatten(1, self.shape)
        return self.scale * entries

    def matrix(self, code: Float[Tensor, "batch code"]) -> Float[Tensor, "batch m m"]:
        """θ itself."""
        return dense(self.control(code), self.columns)

    def orbit(
        self, code: Float[Tensor, "batch code"], t: Sequence[float] | Tensor
    ) -> Float[Tensor, "time batch latent"]:
        """x(t) at the times ``t``, not decreasing, from 0 on.

        Raises:
            SolveError: when it leaves the floating-point range.
        """
        x0 = torch.randn_like(self.x0) if self.redraw and self.training else self.x0
        return sparse_linear_flow(self.control(code), self.columns, x0, t)

    def latent(self, code: Float[Tensor, "batch code"]) -> Float[Tensor, "batch latent"]:
        """x(T)."""
        return self.orbit(code, [self.horizon])[-1]


class LinearBottleneck(Autoencoder):
    """AutoN-CODE's encoder and decoder with a learned linear map from code to latent where its flow was (N16).

    Args:
        encoder, decoder, likelihood: see :class:`Autoencoder`.
        code, latent: sizes.
    """

    @arguments(code=integer(1), latent=integer(1))
    def __init__(self, encoder: nn.Module, decoder: nn.Module, code: int, latent: int, likelihood: str = "bernoulli"):
        super().__init__(encoder, decoder, likelihood)
        self.map = nn.Linear(code, latent)

    def latent(self, code: Float[Tensor, "batch code"]) -> Float[Tensor, "batch latent"]:
        return self.map(code)


class MappedControl(AutoNCODE):
    """AutoN-CODE with a learned linear map of its normalised control Tθ in its flow's place: the flow's control (N16).

    Against :class:`LinearBottleneck` the normalisation and its scale could make the difference; against this only the
    flow does. Arguments as of :class:`AutoNCODE`.
    """

    @arguments(latent=integer(1), entries=integer(1))
    def __init__(self, encoder: nn.Module, decoder: nn.Module, latent: int, entries: int = 2, **options):
        super().__init__(encoder, decoder, latent, entries, **options)
        self.map = nn.Linear(entries * latent, latent)

    def latent(self, code: Float[Tensor, "batch code"]) -> Float[Tensor, "batch latent"]:
        return self.map(self.horizon * self.control(code).flatten(1))


class VariationalAutoencoder(Autoencoder):
    """Gaussian posterior N(μ(x), diag σ²(x)), standard normal prior (Kingma and Welling 2014). The code is μ.

    Args:
        encoder: from images to μ and log σ², so to twice the code.
        decoder, likelihood: see :class:`Autoencoder`.
    """

    def encode(self, x: Images) -> Float[Tensor, "batch code"]:
        """The posterior's mean μ."""
        return self.posterior(x)[0]

    def posterior(self, x: Images) -> tuple[Float[Tensor, "batch code"], Float[Tensor, "batch code"]]:
        """The posterior's mean and log-variance."""
        mean, log_variance = self.encoder(x).chunk(2, dim=1)
        return mean, log_variance

    def loss(self, x: Images) -> tuple[Tensor, dict[str, float]]:
        """The negative evidence lower bound, with one sample of the posterior."""
        mean, log_variance = self.posterior(x)
        sample = mean + torch.exp(0.5 * log_variance) * torch.randn_like(mean)
        nats = self.negative_log_likelihood(self.decoder(sample), x)
        divergence = 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).sum(1).mean()
        return nats + divergence, {"nats": nats.item(), "divergence": divergence.item()}


class SparseAutoencoder(Autoencoder):
    """A code of sigmoid units that are on with probability ρ on average, by a penalty β·Σ KL(ρ ‖ mean unit) (Ng 2011).

    Args:
        encoder, decoder, likelihood: see :class:`Autoencoder`.
        activity: ρ, the share of inputs for which a unit should be on.
        weight: β, in nats.
    """

    @arguments(activity=real(above=0, below=1), weight=real(least=0))
    def __init__(
        self,
        encoder: nn.Module,
        decoder: nn.Module,
        likelihood: str = "bernoulli",
        activity: float = 0.1,
        weight: float = 1.0,
    ):
        super().__init__(encoder, decoder, likelihood)
        self.activity, self.weight = activity, weight

    def encode(self, x: Images) -> Float[Tensor, "batch code"]:
        return torch.sigmoid(self.encoder(x))

    def loss(self, x: Images) -> tuple[Tensor, dict[str, float]]:
        code = self.encode(x)
        nats = self.negative_log_likelihood(self.decoder(code), x)
        mean, rho = code.mean(0).clamp(1e-6, 1 - 1e-6), self.activity
        penalty = (rho * torch.log(rho / mean) + (1 - rho) * torch.log((1 - rho) / (1 - mean))).sum()
        return nats + self.weight * penalty, {"nats": nats.item(), "activity": mean.mean().item()}


class DenoisingAutoencoder(Autoencoder):
    """Trained to give back the clean image from one with Gaussian noise on it (Vincent et al. 2008).

    Args:
        encoder, decoder, likelihood: see :class:`Autoencoder`.
        noise: its standard deviation, in grey levels of [0, 1]; noisy pixels are clipped to that range.
    """

    @arguments(noise=real(least=0))
    def __init__(self, encoder: nn.Module, decoder: nn.Module, likelihood: str = "bernoulli", noise: float = 0.3):
        super().__init__(encoder, decoder, likelihood)
        self.noise = noise

    def loss(self, x: Images) -> tuple[Tensor, dict[str, float]]:
        noisy = (x + self.noise * torch.randn_like(x)).clamp(0, 1)
        nats = self.negative_log_likelihood(self.decoder(self.latent(self.encode(noisy))), x)
        return nats, {"nats": nats.item()}


@arguments(k=integer(1), m=integer(1))
def scattered(k: int, m: int) -> Int64[Tensor, "k m"]:
    """Where θ's entries stand: k random permutations of 0 … m-1, no two of which agree anywhere.

    Raises:
        ValueError: when a row has no room for k entries.
    """
    if not 0 < k <= m:
        raise ValueError(f"entries: k must lie between 1 and m = {m}, not {k}")
    # Distinct diagonals, wrapped around, of a matrix whose rows and columns are then shuffled.
    diagonals, rows, columns = torch.randperm(m)[:k], torch.randperm(m), torch.randperm(m)
    return columns[(rows + diagonals[:, None]) % m]
