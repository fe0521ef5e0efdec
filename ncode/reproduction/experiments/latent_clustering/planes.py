"""Planes of Fig. A.11: a t-SNE of embeddings and the components of a mixture on it, of a run or of a kept picture.

A picture holds a plane as a grid: a cell's brightness is the component of the image that lies there, and zero where
none does. Of images that share a cell the last one counts, so a kept plane is good for drawing and for nothing else.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from ncode.reproduction.metrics.points import Points
from ncode.reproduction.runs.experiment import Run

MODELS = ("ncode", "autoencoder", "pixels")
"""Whose planes are drawn: the paper's, and two controls."""

SIDE = 500
"""Cells along a side of the grid: finer than a printed dot."""

LEVELS = 255
"""Brightnesses of a picture."""


@dataclass(frozen=True)
class Plane:
    """Images in the plane.

    Attributes:
        points: where they lie.
        components: which of the mixture's components they belong to.
        accuracy: of the components as clusters, between 0 and 1.
    """

    points: Points
    components: Int[np.ndarray, " n"]
    accuracy: float


def of_run(run: Run) -> Plane:
    """The plane that a clustering kept."""
    return Plane(run.array("tsne"), run.array("clusters").astype(int), run.metrics["tsne_mixture"])


def drawn(planes: Sequence[Plane]) -> Float[np.ndarray, "planes 1 1 side side"]:
    """Planes as grids, one below the other, as :func:`~ncode.reproduction.runs.recordings.save_picture` keeps them."""
    grids = np.zeros((len(planes), 1, 1, SIDE, SIDE))
    for grid, plane in zip(grids, planes, strict=True):
        low, high = plane.points.min(0), plane.points.max(0)
        column, row = ((plane.points - low) / (high - low).max() * (SIDE - 1)).round().astype(int).T
        grid[0, 0, row, column] = (plane.components + 1) / LEVELS
    return grids


def read(grid: Float[np.ndarray, "side side"], accuracy: float) -> Plane:
    """The plane that a grid shows."""
    row, column = np.nonzero(grid)
    components = np.rint(grid[row, column] * LEVELS).astype(int) - 1
    return Plane(np.stack([column, row], axis=1).astype(float), components, accuracy)
