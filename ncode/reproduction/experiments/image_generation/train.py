"""Sample images from densities fitted to an autoencoder's embeddings (Section 4.5, C.6, Table 2, Figs. 8, A.7 to A.9).

The paper fits its mixtures to *test* embeddings and scores the samples against the same test images. Here every
density is also fitted to as many *training* embeddings, and each sample's nearest neighbours say what is copied.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from ncode.reproduction import metrics
from ncode.reproduction.experiments import autoencoding
from ncode.reproduction.experiments.autoencoding import latents
from ncode.reproduction.experiments.autoencoding.latents import Trained
from ncode.reproduction.metrics.features import extract
from ncode.reproduction.metrics.points import Points
from ncode.reproduction.runs.experiment import Experiment
from ncode.reproduction.runs.output import RunOutput

MODELS = ("autoencoder", "ncode", "double", "vae")
"""The models of Table 2 and Fig. A.7."""

FITS = ("train", "test")
"""What a density is fitted to: as many embeddings of either."""

SHOWN = 10
"""Images of every density that a run keeps."""

NEIGHBOURS = 2000
"""Samples whose nearest neighbours are looked up."""


@dataclass(frozen=True)
class Config(latents.Config):
    """One autoencoder's evaluation.

    Attributes:
        samples: how many are scored for every density; 0 for as many as densities are fitted to.
        components: of the mixtures.
        variances: of the kernels, in units of the square of the embeddings' mean standard deviation.
        starts: of every mixture; the one with the largest likelihood counts.
    """

    samples: int = 0
    components: Sequence[int] = (1, 10, 100, 1000)
    variances: Sequence[float] = (1e-4, 1e-2, 1e-1, 1.0)
    starts: int = 1


def train(config: Config, checkpoint: Path | None = None) -> RunOutput:
    """Fit densities to a finished autoencoder's embeddings, and score samples of them.

    Returns:
        ``points``, how many embeddings each density was fitted to; ``floor``, the distance of as many real images as
        are scored, and ``reconstructed``, of the test images' reconstructions. For every density (see :func:`name`)
        its ``<name>.distance``; ``.likelihood``, mean log-likelihood of the validation embeddings; ``.nearest`` and
        ``.unseen``, the median pixel distance from a sample to the nearest image that the density was fitted to, or
        not, as the decoder gives them; ``.copied``, the share of samples nearer to the former. For a variational
        autoencoder ``prior.distance``, of samples from its prior. Arrays: samples of every density, and the nearest
        fitted images.
    """
    trained = Trained(config)
    ready, network = trained.ready, latents.judge(config)
    points = latents.points(config)
    size = config.samples or points
    reference = latents.reference(config, size)
    embedded = {
        "train": trained.embed(ready.train[0][:points]),
        "test": trained.embed(ready.test[0][:points]),
        "validation": trained.embed(ready.validation[0]),
    }
    found = {
        "points": float(points),
        "floor": reference.floor,
        "reconstructed": reference.score(extract(network, trained.images(embedded["test"][:size]))).distance,
    }
    decoded = {fit: trained.images(embedded[fit]) for fit in FITS}
    arrays = {}
    for fit in FITS:
        for label, density in densities(config, embedded[fit]):
            drawn = trained.images(metrics.draw(density, size, seed=config.seed))
            key = f"{fit}.{label}"
            found[f"{key}.distance"] = reference.score(extract(network, drawn)).distance
            found[f"{key}.likelihood"] = float(density.score_samples(embedded["validation"]).mean())
            copies, where = neighbours(drawn, decoded[fit], decoded[FITS[fit == "train"]])
            found |= {f"{key}.{name}": value for name, value in copies.items()}
            arrays[f"{key}.samples"], arrays[f"{key}.nearest"] = drawn[:SHOWN].cpu(), decoded[fit][where].cpu()
    if config.model == "vae":
        drawn = np.random.default_rng(config.seed).normal(size=(size, embedded["test"].shape[1]))
        images = trained.images(drawn / trained.scale)
        found["prior.distance"] = reference.score(extract(network, images)).distance
        arrays["prior.samples"] = images[:SHOWN].cpu()
    return RunOutput(found, arrays=arrays, data=trained.run.provenance["data"])


def name(kind: str, size: float | int) -> str:
    """A density's name in a run's metrics: ``mixture-100`` or ``kernel-0.01``."""
    return f"{kind}-{size:g}"


def densities(config: Config, z: Points):
    """Every density of the configuration, fitted to ``z``, with its name; components beyond the points are left out."""
    for components in sorted({min(k, len(z)) for k in config.components}):
        yield name("mixture", components), metrics.mixture(z, components, config.seed, config.starts)
    for variance in config.variances:
        yield name("kernel", variance), metrics.kernel_density(z, variance)


def neighbours(drawn: torch.Tensor, fitted: torch.Tensor, unseen: torch.Tensor) -> tuple[dict[str, float], np.ndarray]:
    """How near samples are to images on either side, in pixels; and which fitted image is nearest to the first."""
    flat = [images.flatten(1).cpu().numpy() for images in (drawn[:NEIGHBOURS], fitted, unseen)]
    found = metrics.neighbours(*flat)
    values = {"nearest": np.median(found.fitted), "unseen": np.median(found.unseen), "copied": found.copied}
    where = metrics.nearest(flat[0][:SHOWN], flat[1])[1]
    return {name: float(value) for name, value in values.items()}, where


experiment = Experiment("image_generation", Config, None, train, plans=f"{__package__}.plans", data=autoencoding.data)
