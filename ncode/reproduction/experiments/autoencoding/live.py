"""AutoN-CODE's live figure: images decoded along their orbits, and between three codes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float
from matplotlib.figure import Figure
from torch import Tensor

from ncode.reproduction.experiments.autoencoding import analysis
from ncode.reproduction.experiments.autoencoding.train import prepare
from ncode.reproduction.interactive import export
from ncode.reproduction.models.autoencoders import AutoNCODE
from ncode.reproduction.plotting import style
from ncode.reproduction.runs.experiment import Run

TIMES = 41

CLASSES = (0, 3, 4, 7)
"""Digits that are shown, the first validation image of each."""


def samples(run: Run) -> Float[Tensor, "n 1 size size"]:
    """The images that are shown."""
    x, y = (part.cpu() for part in prepare(run.config.dataset, run.config.variant, run.config.images).validation)
    return x[[int((y == label).nonzero()[0]) for label in CLASSES]]


def still(images: Float[np.ndarray, "rows columns c h w"], times: Sequence[float]) -> Figure:
    """Orbits as a picture; arguments as of :func:`~ncode.reproduction.experiments.autoencoding.analysis.draw_orbit`."""
    figure, axes = style.panels(1, width=5.6, height=5.2)
    analysis.draw_orbit(axes[0, 0], images, times)
    return figure


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
