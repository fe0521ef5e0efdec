"""AutoN-CODE (Sections 4.4, 4.5, C.4), the plain autoencoder and the bottlenecks of N16, behind one interface.

===========================  =========================================================================
:class:`Autoencoder`         the latent is the code; with another code size, the double-size one
:class:`AutoNCODE`           the code is a control θ; the latent is x(T) of x' = θx from a shared x(0)
:class:`LinearBottleneck`    the same encoder and decoder with a learned linear map in the flow's place
:class:`MappedControl`       the same with a learned linear map of the normalised control
===========================  =========================================================================

The autoencoders of other papers are in :mod:`ncode.reproduction.models.rivals`, encoders and decoders in
:mod:`ncode.reproduction.models.encoders`. Images are floats in [0, 1], (batch, channels, height, width). Losses are in
nats an image.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn
from torch.nn import functional as F

from ncode.arguments import arguments, flag, instance, integer, one_of, real
from ncode.solvers.linear import dense, sparse_linear_flow

Images = Float[Tensor, "batch channels height width"]

LIKELIHOODS = ("bernoulli", "gaussian", "mse")

NORMALISATIONS = ("none", "tanh", "row", "sample", "batch")
"""What may keep the control bounded; see :class:`AutoNCODE`."""


class Autoencoder(nn.Module):
    """An encoder, a decoder, and the negative log-likelihood of the image between them.

    Args:
        encoder, decoder: see :func:`~ncode.reproduction.models.encoders.networks`.
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
