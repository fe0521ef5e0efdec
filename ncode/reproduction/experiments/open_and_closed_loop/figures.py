"""Figures of the open and the closed loop: the module, crossing paths, and two error norms."""

from __future__ import annotations

from collections.abc import Mapping

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure
from torch import Tensor

from ncode.reproduction.experiments.open_and_closed_loop.analysis import coupled
from ncode.reproduction.plotting import diagrams, style


def module() -> Figure:
    """Fig. 2: the N-CODE module with an open and with a closed loop."""
    figure, axes = style.panels(2, width=4.6, height=2.9)
    for panel, (name, colour) in zip(axes[0], (("open", "#cfe3f2"), ("closed", "#f2d9e6")), strict=True):
        diagrams.loop(panel, name == "closed", colour)
        panel.set_title(f"{name} loop")
    return figure


def crossing(paths: Mapping[str, object]) -> Figure:
    """Paths of random models, and the distance in x and in z of a pair that changes order."""
    figure, axes = style.panels(len(paths), 2, width=2.9, height=2.3)
    for (above, below), (loop, path) in zip(axes.T, paths.items(), strict=True):
        x, z = path.x[..., 0], coupled(path)
        style.paths(above, path.t, x, plt.get_cmap("coolwarm")(np.linspace(0, 1, x.shape[1])))
        above.set(title=style.LABELS[loop], xlabel="time t")
        first = int((x.diff(dim=1) < 0).any(0).float().argmax())
        above.plot(path.t, x[:, first : first + 2], color="black", linewidth=1.5)
        near = {"label": "in z = (x, θ)", "color": style.COLOURS[loop]}
        below.semilogy(path.t, (x[:, first] - x[:, first + 1]).abs(), "--", color="black", label="in x")
        below.semilogy(path.t, (z[:, first] - z[:, first + 1]).norm(dim=1), **near)
        below.set(xlabel="time t", ylim=(1e-3, 5))
    axes[0, 0].set_ylabel("state x(t)")
    axes[1, 0].set_ylabel("distance of a pair")
    axes[1, 0].legend(loc="lower left")
    return figure


def norms(errors: Mapping[str, tuple[Tensor, int]], tolerance: float) -> Figure:
    """Every sample's global error, sorted, by the norm that accepts a step."""
    figure, axes = style.panels(1, width=4.6, height=2.7)
    colours = (style.COLOURS["node"], style.COLOURS["open"])
    for (norm, (found, nfe)), colour in zip(errors.items(), colours, strict=True):
        axes[0, 0].semilogy(found, color=colour, label=f"{norm}, {nfe} evaluations")
    axes[0, 0].axhline(tolerance, color="black", linestyle=":", linewidth=1)
    axes[0, 0].set(xlabel="sample, sorted by error", ylabel="global error at T")
    axes[0, 0].legend(title="error norm")
    return figure
