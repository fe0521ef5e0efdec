"""Figures of Proposition 1: how the two flows collapse, and why the pair of state and control does not."""

from __future__ import annotations

import math
from collections.abc import Mapping

import matplotlib.pyplot as plt
import numpy as np
import torch
from jaxtyping import Float64
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from ncode.models import Flow
from ncode.reproduction.plotting import style

SCALE = {"open": 0.5, "closed": math.pi / 4}
"""The time between two maps that are drawn; each loop collapses at twice that."""
TIMES = {"open": ("0", "0.5", "1", "1.5", "2"), "closed": ("0", "π/4", "π/2", "3π/4", "π")}


@torch.no_grad()
def collapse(models: Mapping[str, Flow], grid: Float64[Tensor, "n 1"]) -> Figure:
    """Paths of both loops, and the maps x(0) ↦ Φ(x(0), t) at five times."""
    figure, axes = style.panels(2, 2, width=4.2, height=2.5)
    for row, (loop, model) in zip(axes, models.items(), strict=True):
        _paths(row[0], model.trajectory(grid[::25], _times(4 * SCALE[loop], 101)))
        row[0].axvline(2 * SCALE[loop], color="grey", linestyle=":", linewidth=1)
        row[0].set_title(f"{loop} loop: paths")
        maps = model.trajectory(grid, _times(4 * SCALE[loop], 5)).x[..., 0]
        for values, name, shade in zip(maps, TIMES[loop], np.linspace(0, 0.9, 5), strict=True):
            row[1].plot(grid[:, 0], values, color=plt.get_cmap("cividis")(shade), label=f"t = {name}")
        row[1].set(title=f"{loop} loop: maps", xlabel="x(0)", ylabel="Φ(x(0), t)", ylim=(-1.1, 1.1))
        row[1].legend(loc="center left", bbox_to_anchor=(1, 0.5))
    return figure


@torch.no_grad()
def lifted(model: Flow) -> Figure:
    """The closed loop's flow of the pair (x, θ) at four times, and its projection on x."""
    colours = plt.get_cmap("coolwarm")(np.linspace(0, 1, 9))
    starts = torch.linspace(-1, 1, 9, dtype=torch.float64).unsqueeze(1)
    times = torch.tensor([0, math.pi / 4, math.pi / 2, math.pi], dtype=torch.float64)
    path = model.trajectory(starts, times)
    figure, axes = style.panels(4, width=2.1, height=2.4, sharex=True, sharey=True)
    for panel, x, theta, name in zip(axes[0], path.x, path.theta, ("0", "π/4", "π/2", "π"), strict=True):
        panel.scatter(x, theta, c=colours, s=28, edgecolors="#555555", linewidths=0.5)
        panel.scatter(x, np.full(9, -1.35), c=colours, marker="|", s=70, linewidths=2)
        panel.set(title=f"t = {name}", xlabel="state x", xlim=(-1.2, 1.2), ylim=(-1.55, 1.2), aspect="equal")
    axes[0, 0].set_ylabel("control θ")
    return figure


def _paths(panel: Axes, path) -> None:
    style.paths(panel, path.t, path.x[..., 0], plt.get_cmap("coolwarm")(np.linspace(0, 1, path.x.shape[1])))
    panel.set(xlabel="time t", ylabel="state x(t)")


def _times(last: float, count: int) -> Float64[Tensor, " time"]:
    return torch.linspace(0, last, count, dtype=torch.float64)
