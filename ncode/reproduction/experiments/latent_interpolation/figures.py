"""Figures of interpolation: Fig. A.12 of the paper, and how smooth and how real the images on a line are."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure

from ncode.reproduction.experiments.autoencoding.evaluation import band, colour
from ncode.reproduction.metrics.comparison import Runs, metric
from ncode.reproduction.plotting import style

WIDTH = 3.8
"""Of a block of images, in inches; two stand side by side."""


def lines(blocks: Mapping[str, np.ndarray]) -> Figure | None:
    """Fig. A.12, its linear panels: a block of rows for every model; with no blocks there is no figure."""
    if not blocks:
        return None
    rows, images = next(iter(blocks.values())).shape[:2]
    return style.mosaic(blocks, width=WIDTH, height=rows * WIDTH / images + 0.25)


def squares(blocks: Mapping[str, np.ndarray]) -> Figure | None:
    """Fig. A.12, its lower panel: a square of images for every model; with no blocks there is no figure."""
    return style.mosaic(blocks, width=WIDTH, height=WIDTH + 0.2) if blocks else None


def smoothness(runs: Runs) -> Figure:
    """Speed of the features along the lines, and path length against the distance of images half-way."""
    figure, axes = style.panels(2, 1, width=3.8, height=3.0)
    for model, of_model in runs.items():
        # length / excess is the mean square of the distance between the ends.
        unit = np.sqrt(metric(of_model, "length") / metric(of_model, "excess"))
        speed = np.array([run.array("speed") for run in of_model]) / unit[:, None]
        band(axes[0, 0], of_model[0].array("t"), speed, model)
        dots = (metric(of_model, name) for name in ("excess", "half_way"))
        axes[0, 1].plot(*dots, "o", color=colour(model))
    axes[0, 0].set(xlabel="t", ylabel="speed of the features", ylim=(0, None))
    axes[0, 1].set(xlabel="path length / straight path's", ylabel="Fréchet distance, half-way")
    style.plain_log(axes[0, 1].yaxis)
    axes[0, 1].axhline(metric(next(iter(runs.values())), "floor").mean(), color="#999999")
    style.legend(figure, axes[0, 0], columns=3)
    return figure
