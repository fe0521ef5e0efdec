"""What the page on autoencoding asks of its runs: tuned normalisations, reconstructions along a path, comparisons."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from ncode.autoencoder import Autoencoder, AutoNCODE
from ncode.experiments.autoencoding import Config, train
from ncode.integrate import SolveError
from ncode.runs import Record, run
from ncode.training import TrainingError

TUNING_SEED = 100
"""Of the runs on which a scale is chosen; no comparison uses it."""


@dataclass(frozen=True)
class Tuned:
    """A way to train AutoN-CODE at the scale of θ that suits it best.

    Attributes:
        tried: validation nats by scale, one run each; infinite where training failed.
        scale: the best of them.
        records: the runs of the comparison at that scale, by seed; ``None`` for one that failed.
    """

    tried: dict[float, float]
    scale: float
    records: list[Record | None]

    @property
    def finished(self) -> list[Record]:
        return [record for record in self.records if record is not None]


def attempt(config: Config) -> Record | None:
    """The run's record; ``None`` where training could not go on, or its result cannot be evaluated."""
    try:
        return run(train, config)
    except (TrainingError, SolveError):
        return None


def tuned(base: Config, scales: Sequence[float], seeds: int) -> Tuned:
    """Train ``base`` at the one of ``scales`` whose validation loss is lowest on :data:`TUNING_SEED`."""
    tried = {}
    for scale in scales:
        record = attempt(dataclasses.replace(base, seed=TUNING_SEED, scale=scale))
        tried[scale] = record.metrics["validation_nats"] if record else np.inf
    best = min(tried, key=tried.get)
    records = [attempt(dataclasses.replace(base, seed=seed, scale=best)) for seed in range(seeds)]
    return Tuned(tried, best, records)


def loaded(record: Record) -> Autoencoder:
    """The run's model, ready to be evaluated."""
    from ncode.experiments.autoencoding import build

    return record.load_weights(build(Config(**record.config))).eval()


@torch.no_grad()
def orbit_images(
    model: AutoNCODE, x: Float[Tensor, "batch c h w"], t: Sequence[float]
) -> Float[Tensor, "time batch c h w"]:
    """What the decoder makes of x(t) on its way to x(T)."""
    return torch.stack([model.decode(state) for state in model.orbit(model.encode(x), t)])


@torch.no_grad()
def line_images(
    model: Autoencoder, x: Float[Tensor, "batch c h w"], shares: Sequence[float]
) -> Float[Tensor, "time batch c h w"]:
    """The control experiment: what the decoder makes of the straight line from the mean latent to an image's."""
    latent = model.latent(model.encode(x))
    start = latent.mean(0)
    return torch.stack([model.decode(start + share * (latent - start)) for share in shares])


def path_errors(
    images: Float[Tensor, "time batch c h w"], x: Float[Tensor, "batch c h w"]
) -> Float[Tensor, "time batch"]:
    """Mean squared error of a pixel along a path, for every image."""
    return (images - x).square().flatten(2).mean(2)
