"""AutoN-CODE's live figure: images decoded along their orbits, and between three codes."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from ncode.reproduction.experiments.autoencoding.train import prepare
from ncode.reproduction.interactive import export
from ncode.reproduction.models.autoencoders import AutoNCODE
from ncode.reproduction.runs.experiment import Run

TIMES = 41

CLASSES = (0, 3, 4, 7)
"""Digits that are shown, the first validation image of each."""


def samples(run: Run) -> Float[Tensor, "n 1 size size"]:
    """The images that are shown."""
    x, y = (part.cpu() for part in prepare(run.config.dataset, run.config.variant, run.config.images).validation)
    return x[[int((y == label).nonzero()[0]) for label in CLASSES]]


def data(model: AutoNCODE, images: Float[Tensor, "n 1 size size"]) -> dict:
    """A trained AutoN-CODE of perceptrons and a few images, as data for the kind ``orbit``."""
    times = torch.linspace(0, model.horizon, TIMES)
    with torch.no_grad():
        orbits = model.orbit(model.encode(images), times)
    return {
        "decoder": export.decoder(model.decoder),
        "size": images.shape[-1],
        "times": times.tolist(),
        "orbits": [[export.numbers(point) for point in orbit] for orbit in orbits.transpose(0, 1)],
        "images": [export.numbers(image, half=True) for image in images],
    }
