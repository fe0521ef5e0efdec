"""Figures of the Van der Pol oscillator: Fig. 3 of the paper, and the loss over μ."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from ncode.reproduction.experiments import van_der_pol
from ncode.reproduction.experiments.van_der_pol import analysis
from ncode.reproduction.experiments.van_der_pol.train import TRUE_MU
from ncode.reproduction.plotting import style


def fits(fit, nodes: Sequence) -> Figure:
    """Fig. 3: the observations, N-CODE's fits from every start, and neural ODEs with the best monotone curve."""
    t, x = fit.array("t"), fit.array("x")
    figure, axes = style.panels(2, width=4.3, height=2.8, sharey=True)
    for panel in axes[0]:
        panel.plot(t, x, ".", color="black", markersize=4, label="observed", zorder=0)
        panel.set(xlabel="time t", ylim=(-3, 4.2))
    fine = torch.linspace(0, float(t[-1]), 401)
    paths = [van_der_pol.path(float(mu), fine) for mu in fit.array("mu")]
    _together(axes[0, 0], fine, paths, "closed", f"N-CODE, {len(paths)} starts")
    paths = [node.array("path")[:, 0] for node in nodes]
    _together(axes[0, 1], t, paths, "node", f"NODE, {len(nodes)} seeds")
    _, best = van_der_pol.monotone_floor(torch.tensor(nodes[0].array("x")))
    axes[0, 1].step(t, best, color="#777777", where="mid", linestyle="--", label="best monotone curve")
    axes[0, 0].set_ylabel("state x(t)")
    for panel in axes[0]:
        panel.legend(loc="upper right", fontsize=8)
    return figure


def landscape(mu: Tensor, slices: Mapping[float, Tensor], ways: Mapping[str, object]) -> Figure:
    """The loss over μ by horizon, and μ over the iterations from every start, by the way of fitting."""
    figure, axes = style.panels(2, width=4.3, height=2.9)
    for (horizon, loss), shade in zip(slices.items(), np.linspace(0.85, 0, len(slices)), strict=True):
        label = f"T = {horizon:g}, minima: {analysis.minima(loss)}"
        axes[0, 0].plot(mu, loss, color=plt.get_cmap("cividis")(shade), label=label)
    axes[0, 0].axvline(TRUE_MU, color="black", linestyle=":", linewidth=1)
    top = 1.6 * slices[max(slices)].max().item()
    axes[0, 0].set(xlabel="μ", ylabel="loss (MSE)", ylim=(0, top))
    axes[0, 0].legend(fontsize=8, loc="upper center", ncols=2)
    for (way, record), dashes in zip(ways.items(), ("--", "-"), strict=True):
        _starts(axes[0, 1], record, way, dashes)
    axes[0, 1].axhline(TRUE_MU, color="black", linestyle=":", linewidth=1)
    axes[0, 1].set(xlabel="iteration", ylabel="μ")
    axes[0, 1].legend(title=f"T = {max(slices):g}", fontsize=8)
    return figure


def _together(panel: Axes, t, paths: Sequence, model: str, label: str) -> None:
    for i, path in enumerate(paths):
        panel.plot(t, path, color=style.COLOURS[model], linewidth=1, label=label if i == 0 else None)


def _starts(panel: Axes, record, way: str, dashes: str) -> None:
    tracks = [values for name, values in record.history.metrics.items() if name.startswith("mu ")]
    colours = plt.get_cmap("viridis")(np.linspace(0, 0.85, len(tracks)))
    for i, (track, colour) in enumerate(zip(tracks, colours, strict=True)):
        panel.plot(track, dashes, color=colour, linewidth=1.2, label=way if i == 0 else None)
