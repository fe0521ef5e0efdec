"""Figures of clustering: accuracies, and Fig. A.11 of the paper."""

from __future__ import annotations

from collections.abc import Mapping

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from ncode.reproduction.experiments.autoencoding.evaluation import colour, label
from ncode.reproduction.experiments.latent_clustering.analysis import accuracy
from ncode.reproduction.experiments.latent_clustering.planes import Plane
from ncode.reproduction.metrics.comparison import Runs
from ncode.reproduction.plotting import style
from ncode.reproduction.publishing import numbers

METHODS = {"kmeans": "k-means", "spectral": "spectral", "mixture": "mixture", "tsne_mixture": "t-SNE + mixture"}
CHANCE = 10
"""What one group for all images scores, in %, of ten classes of one size."""


def accuracies(runs: Runs | None) -> Figure | None:
    """Accuracy of every representation by every method; bars are means, dots seeds. No runs, no figure."""
    if not runs:
        return None
    figure, axes = style.panels(1, width=7.0, height=3.0)
    panel = axes[0, 0]
    for k, model in enumerate(runs):
        _bars(panel, runs, model, (k - len(runs) / 2 + 0.5) * 0.8 / len(runs))
    panel.axhline(CHANCE, color="#999999", linestyle="--")
    panel.set_xticks(range(len(METHODS)), METHODS.values())
    panel.set(ylabel="clustering accuracy %")
    style.legend(figure, panel, columns=4)
    return figure


def tsne(planes: Mapping[str, Plane]) -> Figure:
    """Fig. A.11: t-SNE of embeddings, coloured by the component of a mixture on it, with a legend; a panel a model."""
    colours = plt.get_cmap("tab10")
    figure, axes = style.panels(len(planes), 1, width=2.5, height=2.7)
    for panel, (model, plane) in zip(axes[0], planes.items(), strict=True):
        # On the digits a dot is seen, and among ten thousand images it hides none.
        size = min(2.0, 4000 / len(plane.points))
        panel.scatter(*plane.points.T, c=colours(plane.components), s=size, linewidths=0)
        panel.set(xticks=[], yticks=[], title=f"{label(model)}: {numbers.share(plane.accuracy)}")
        panel.grid(False)
    marks = [Line2D([], [], marker="o", linestyle="", color=colours(k), label=str(k + 1)) for k in range(10)]
    figure.legend(handles=marks, title="mixture component", loc="outside lower center", ncols=10)
    return figure


def _bars(panel: Axes, runs: Runs, model: str, offset: float) -> None:
    for at, method in enumerate(METHODS):
        values = 100 * accuracy(runs, model, method)
        if len(values):
            named = {"label": label(model)} if method == "tsne_mixture" else {}
            panel.bar(at + offset, values.mean(), 0.8 / len(runs), color=colour(model), **named)
            panel.plot([at + offset] * len(values), values, ".", color="black", markersize=3)
