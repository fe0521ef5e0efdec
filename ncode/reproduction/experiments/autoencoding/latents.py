"""A finished autoencoder with its embeddings, and the network that judges its images: what every evaluation needs.

An evaluation's configuration is an autoencoder's with more fields. The autoencoder's own run is found by its identity
where it is finished, and made where it is not.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from ncode.reproduction.experiments import autoencoding, digit_features
from ncode.reproduction.metrics import features
from ncode.reproduction.metrics.features import Features, extract
from ncode.reproduction.metrics.frechet import COMPONENTS, Reference
from ncode.reproduction.metrics.points import Points
from ncode.reproduction.models.autoencoders import Autoencoder, AutoNCODE
from ncode.reproduction.models.encoders import ARCHITECTURES

DIGITS = ("digits", "mnist")
"""Data sets that the classifier of digits judges; networks trained on ImageNet judge the others."""


@dataclasses.dataclass(frozen=True)
class Config(autoencoding.Config):
    """An autoencoder's configuration, and its judge's.

    Attributes:
        judge_epochs: of the classifier of digits.
        inception: whether InceptionV3 judges colour images, whose distance is FID, instead of EfficientNet-Lite0.
    """

    judge_epochs: int = 12
    inception: bool = False


class Trained:
    """A finished autoencoder's embeddings of real images, and the way back to images.

    Embeddings are divided by one number, their standard deviation on the training images, so that a kernel's
    variance and a mixture's regularisation mean the same for every model.

    Attributes:
        run: the autoencoder's.
        model: the autoencoder.
        ready: its data.
        scale: what embeddings were divided by.
    """

    def __init__(self, config: Config):
        base = autoencoder_config(config)
        self.run = autoencoding.experiment.run(base)
        self.model: Autoencoder = self.run.model().requires_grad_(False)
        self.ready = autoencoding.prepare(config.dataset, config.variant, config.images)
        self.model.to(self.ready.device)
        self.scale = 1.0
        embedded = self.embed(self.ready.train[0])
        # Embeddings that are the same for all images have no scale; their computed deviation need not be zero.
        self.scale = float(embedded.std(0).mean()) if np.ptp(embedded, axis=0).any() else 1.0

    def embed(self, x: Tensor) -> Points:
        """The latents of images, scaled."""
        with torch.no_grad():
            latents = [self.model.latent(self.model.encode(part)) for part in x.split(500)]
        return torch.cat(latents).cpu().numpy().astype(np.float64) / self.scale

    def images(self, z: Points) -> Tensor:
        """The decoder's images of scaled embeddings."""
        latents = torch.tensor(z * self.scale, dtype=torch.float32, device=self.ready.device)
        with torch.no_grad():
            return torch.cat([self.model.decode(part) for part in latents.split(500)])


def autoencoder_config(config: autoencoding.Config) -> autoencoding.Config:
    """The configuration of the autoencoder that an evaluation is of."""
    fields = dataclasses.fields(autoencoding.Config)
    return autoencoding.Config(**{field.name: getattr(config, field.name) for field in fields})


def size(config: Config) -> int:
    """How many numbers the decoder is given."""
    return config.latent or ARCHITECTURES["mnist" if config.dataset in DIGITS else config.dataset].latent


def judge(config: Config) -> Features:
    """The feature network for the configuration's data set; a classifier of digits is trained where it is not yet."""
    if config.dataset not in DIGITS:
        return _imagenet(config.inception)
    return _digit_judge(digit_features.Config(config.dataset, config.variant, epochs=config.judge_epochs))


@functools.lru_cache(maxsize=4)
def _digit_judge(config: digit_features.Config) -> Features:
    network = digit_features.experiment.run(config).model().requires_grad_(False)
    return features.digit_features(network.to(autoencoding.Prepared.device))


@functools.lru_cache(maxsize=1)
def _imagenet(inception: bool) -> Features:
    network = features.inception_v3() if inception else features.efficientnet()
    return network.to(autoencoding.Prepared.device)


def points(config: Config) -> int:
    """How many embeddings densities are fitted to: as many as there are test images, or training images where fewer."""
    ready = autoencoding.prepare(config.dataset, config.variant, config.images)
    return min(len(ready.test[0]), len(ready.train[0]))


def reference(config: Config, size: int) -> Reference:
    """What ``size`` images are scored against: the judge's features of the test images.

    Its floor is that of as many of the first :func:`points` training images. An FID's features are not projected.
    """
    test, real, fid = _real_features(
        config.dataset, config.variant, config.images, config.judge_epochs, config.inception
    )
    return Reference(test, real, size, None if fid else COMPONENTS)


@functools.lru_cache(maxsize=1)
def _real_features(
    dataset: str, variant: str, images: int, judge_epochs: int, inception: bool
) -> tuple[Points, Points, bool]:
    ready = autoencoding.prepare(dataset, variant, images)
    network = judge(Config("", 0, dataset, variant, judge_epochs=judge_epochs, inception=inception))
    test, train = ready.test[0], ready.train[0]
    return extract(network, test), extract(network, train[: len(test)]), network.fid


@torch.no_grad()
def orbit_images(
    model: AutoNCODE, x: Float[Tensor, "batch c h w"], t: Sequence[float] | np.ndarray
) -> Float[Tensor, "time batch c h w"]:
    """What the decoder makes of x(t), on its way to x(T) and beyond."""
    return torch.stack([model.decode(state) for state in model.orbit(model.encode(x), np.asarray(t).tolist())])
