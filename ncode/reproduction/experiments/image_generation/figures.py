"""Figures of image generation: Figs. 8, A.7, A.8 and A.9 of the paper."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ncode.reproduction.experiments.autoencoding.evaluation import band, colour
from ncode.reproduction.experiments.image_generation import analysis
from ncode.reproduction.metrics.comparison import Runs, metric
from ncode.reproduction.plotting import style

PANELS = (
    ("test", "distance", "Fréchet distance", "fitted to test, as in the paper"),
    ("train", "distance", "Fréchet distance", "fitted to training"),
    ("both", "copied", "share of copies", "nearer to a fitted image"),
    ("train", "likelihood", "log-likelihood", "of unseen, fitted to training"),
)
"""What was fitted to, the metric, its axis and the panel's title."""


def halves(left: Mapping[str, np.ndarray], right: Mapping[str, np.ndarray], most: int = 7) -> Figure:
    """Fig. 8: the same test images by every model at the left, samples at the right; one row a model.

    Args:
        left, right: rows of images by model.
        most: images in a row; with more, each would be too small to see.
    """
    figure, axes = style.panels(2, len(left), width=3.4, height=0.56)
    for (name, images), row in zip(left.items(), axes, strict=True):
        style.pictures(row[0], images[:, :most])
        row[0].set_ylabel(name, rotation=0, ha="right", va="center", fontsize=8)
        if name in right:
            style.pictures(row[1], right[name][:, :most])
        else:
            row[1].set_axis_off()
    axes[0, 0].set_title("reconstructions", fontsize=9)
    axes[1, 1].set_title("samples", fontsize=9)
    return figure


def samples(blocks: Mapping[str, np.ndarray], most: int = 4) -> Figure | None:
    """Fig. A.7, right: samples of mixtures, a column a model and a row a number of components.

    Args:
        blocks: images by model and density, as :func:`~.analysis.samples` names them; with none there is no figure.
        most: images of every density.
    """
    if not blocks:
        return None
    columns: dict[str, dict[str, np.ndarray]] = {}
    for text, images in blocks.items():
        model, _, density = text.partition(", ")
        columns.setdefault(model, {})[density] = images[:, :most]
    densities = list(dict.fromkeys(density for of_model in columns.values() for density in of_model))
    figure, axes = style.panels(len(columns), len(densities), width=2.2, height=0.58)
    for panels, (model, of_model) in zip(axes.T, columns.items(), strict=True):
        panels[0].set_title(model)
        for panel, density in zip(panels, densities, strict=True):
            if density in of_model:
                style.pictures(panel, of_model[density])
            else:
                panel.set(frame_on=False, xticks=[], yticks=[])
    for panel, density in zip(axes[:, 0], densities, strict=True):
        text = f"{density} component{'' if density == '1' else 's'}" if density.isdigit() else density
        panel.set_ylabel(text, rotation=0, ha="right", va="center", fontsize=8)
    return figure


def neighbours(blocks: Mapping[str, np.ndarray], most: int = 10) -> Figure | None:
    """Fig. A.8: samples, and below each the nearest image that its density was fitted to; no blocks, no figure."""
    return style.strips({text: images[:, :most] for text, images in blocks.items()}) if blocks else None


def components(runs: Runs | None) -> Figure | None:
    """Fig. A.7, left: distance over the number of components, and what it leaves out: copies and likelihood."""
    if not runs:
        return None
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
        uncover(panel)
    # Far below, where a mixture copies, unseen embeddings' likelihood falls by orders of magnitude.
    tops = [max(line.get_ydata()) for line in axes[1, 1].get_lines()]
    axes[1, 1].set_ylim(min(tops) - 100, max(tops) + 15)
    style.legend(figure, axes[0, 0])
    return figure


def uncover(panel: Axes) -> None:
    """Draw solid lines wide, pale and behind the dashed ones: where two agree, both are seen."""
    for line in panel.get_lines():
        if line.get_linestyle() == "-" and len(line.get_xdata()) > 2:
            line.set(linewidth=4, alpha=0.55, zorder=1.5)


def kernels(named: Mapping[str, Runs]) -> Figure:
    """Fig. A.9, left: distance over a kernel's variance, and the share of copies; one row a set of runs."""
    figure, axes = style.panels(2, len(named), width=3.8, height=2.3)
    for row, (name, runs) in zip(axes, named.items(), strict=True):
        for model, of_model in runs.items():
            for panel, fit, what in ((row[0], "test", "distance"), (row[1], "both", "copied")):
                x, values = analysis.curve(of_model, fit, "kernel", what)
                band(panel, x, values, model)
                panel.set(xscale="log", xlabel="variance of the kernel", title=name)
        for panel in row:
            uncover(panel)
        style.plain_log(row[0].yaxis)
        row[0].set_ylabel("Fréchet distance")
        row[1].set_ylabel("share of copies")
    style.legend(figure, axes[0, 0])
    return figure
