"""Figures of the reflection: paths, fields, and training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.figure import Figure

from ncode.reproduction.experiments.reflection import analysis
from ncode.reproduction.plotting import style


def paths(records: Mapping[str, Sequence]) -> Figure:
    """Fig. 4: paths x(t) of every model's first seed, with the ends of a perfect reflection."""
    t, starts = torch.linspace(0, 1, 61), torch.linspace(-1, 1, 15).unsqueeze(1)
    colours = plt.get_cmap("coolwarm")(np.linspace(0, 1, len(starts)))
    figure, axes = style.panels(len(records), width=1.3, height=2.3, sharey=True)
    for panel, (model, runs) in zip(axes[0], records.items(), strict=True):
        with torch.no_grad():
            path = runs[0].model().trajectory(starts, t).x
        style.paths(panel, t, path[..., 0], colours)
        panel.plot([1.04] * len(starts), -starts, "_", color="grey", clip_on=False)
        panel.set(title=style.LABELS[model].replace("N-CODE, ", "").replace(", ", ",\n"), xlabel="time t")
    axes[0, 0].set_ylabel("state x(t)")
    return figure


def fields(records: Mapping[str, Sequence]) -> Figure:
    """The fields that a few samples see: NODE's, both open loops', and the closed loop's at two times."""
    node, single, opened, closed = (records[model][0].model() for model in ("node", "single", "open", "closed"))
    x = torch.linspace(-1.5, 1.5, 101).unsqueeze(1)
    colours = plt.get_cmap("coolwarm")(np.linspace(0, 1, len(analysis.FEW)))
    figure, axes = style.panels(5, width=1.56, height=2.2)
    with torch.no_grad():
        axes[0, 0].plot(x, node.field(torch.tensor(0.0), x, {}), color="black")
    controlled = ((single, 0.0), (opened, 0.0), (closed, 0.0), (closed, 0.5))
    for panel, (model, time) in zip(axes[0, 1:], controlled, strict=True):
        style.paths(panel, x[:, 0], analysis.field_at(model, analysis.FEW, time, x).T, colours)
    titles = ("NODE", "open loop,\none parameter", "open loop", "closed loop,\nt = 0", "closed loop,\nt = T/2")
    for panel, title in zip(axes[0], titles, strict=True):
        panel.set(title=title, xlabel="state x")
    axes[0, 0].set_ylabel("velocity f(x, θ)")
    return figure


def training(records: Mapping[str, Sequence]) -> Figure:
    """Training loss, with the floor of an increasing function, and evaluations, over the iterations."""
    figure, axes = style.panels(2, width=3.9, height=2.7)
    for model, runs in records.items():
        losses = [run.history.loss for run in runs]
        iterations = np.arange(1, len(losses[0]) + 1)
        style.band(axes[0, 0], iterations, losses, model)
        style.band(axes[0, 1], iterations, [run.history.nfe_forward for run in runs], model)
    axes[0, 0].axhline(analysis.floor(), color="black", linestyle=":", linewidth=1)
    axes[0, 0].set(yscale="log", xlabel="iteration", ylabel="training loss (MSE)")
    axes[0, 1].set(xlabel="iteration", ylabel="evaluations (NFE)")
    style.legend(figure, axes[0, 0], columns=3)
    return figure
