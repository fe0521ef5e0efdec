"""Figures of interpolation: how smooth and how real the images on a line are."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from ncode.reproduction.experiments.autoencoding.evaluation import band, colour
from ncode.reproduction.metrics.comparison import Runs, metric
from ncode.reproduction.plotting import style


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
