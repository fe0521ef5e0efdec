"""Figures of image generation: Figs. 8, A.7 and A.9 of the paper."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure

from ncode.reproduction.experiments.autoencoding.evaluation import band, colour
from ncode.reproduction.experiments.image_generation import analysis
from ncode.reproduction.metrics.comparison import Runs, metric
from ncode.reproduction.plotting import style

PANELS = (
    ("test", "distance", "Fréchet distance", "fitted to test, as in the paper"),
    ("train", "distance", "Fréchet distance", "fitted to training"),
    ("both", "copied", "nearer to a fitted image", "copies"),
    ("train", "likelihood", "log-likelihood", "of unseen, fitted to training"),
)
"""What was fitted to, the metric, its axis and the panel's title."""


def halves(left: Mapping[str, np.ndarray], right: Mapping[str, np.ndarray]) -> Figure:
    """Fig. 8: the same test images by every model at the left, samples at the right; one row a model."""
    figure, axes = style.panels(2, len(left), width=4.2, height=0.55)
    for (name, images), row in zip(left.items(), axes, strict=True):
        style.pictures(row[0], images)
        row[0].set_ylabel(name, rotation=0, ha="right", va="center", fontsize=8)
        if name in right:
            style.pictures(row[1], right[name])
        else:
            row[1].set_axis_off()
    axes[0, 0].set_title("reconstructions", fontsize=9)
    axes[1, 1].set_title("samples", fontsize=9)
    return figure


def components(runs: Runs) -> Figure:
    """Fig. A.7: distance over the number of components, and what it leaves out: copies and likelihood."""
    figure, axes = style.panels(2, 2, width=3.8, height=2.7)
    for model, of_model in runs.items():
        for panel, (fit, what, _, _) in zip(axes.flat, PANELS, strict=True):
            x, values = analysis.curve(of_model, fit, "mixture", what)
            band(panel, x, values, model)
            if what == "distance":
                best = np.median(metric(of_model, "reconstructed"))
                panel.plot(1.5 * x[-1], best, "<", color=colour(model))
    for panel, (_, what, y, title) in zip(axes.flat, PANELS, strict=True):
        panel.set(xscale="log", xlabel="components", ylabel=y, title=title)
        if what == "distance":
            style.plain_log(panel.yaxis)
            panel.axhline(metric(next(iter(runs.values())), "floor").mean(), color="#999999")
    # Far below, where a mixture copies, unseen embeddings' likelihood falls by orders of magnitude.
    tops = [max(line.get_ydata()) for line in axes[1, 1].get_lines()]
    axes[1, 1].set_ylim(min(tops) - 100, max(tops) + 15)
    style.legend(figure, axes[0, 0])
    return figure


def kernels(named: Mapping[str, Runs]) -> Figure:
    """Fig. A.9, left: distance over a kernel's variance, and the share of copies; one row a set of runs."""
    figure, axes = style.panels(2, len(named), width=3.8, height=2.5)
    for row, (name, runs) in zip(axes, named.items(), strict=True):
        for model, of_model in runs.items():
            for panel, fit, what in ((row[0], "test", "distance"), (row[1], "both", "copied")):
                x, values = analysis.curve(of_model, fit, "kernel", what)
                band(panel, x, values, model)
                panel.set(xscale="log", xlabel="variance of the kernel", title=name)
        style.plain_log(row[0].yaxis)
        row[0].set_ylabel("Fréchet distance")
        row[1].set_ylabel("nearer to a fitted image")
    style.legend(figure, axes[0, 0])
    return figure
