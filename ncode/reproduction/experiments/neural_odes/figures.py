"""Figures of a neural ODE's properties."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor

from ncode.models import NeuralODE
from ncode.reproduction.plotting import style

BLUE, ORANGE, GREEN, RED = (style.COLOURS[model] for model in ("open", "anode", "data", "node"))


@torch.no_grad()
def orbits(model: NeuralODE, x0: Tensor) -> Figure:
    """The field and some orbits, followed forward and backward in time."""
    points = torch.cartesian_prod(*2 * [torch.linspace(-3, 3, 17)])
    arrows = model.field(torch.tensor(0.0), points, {})
    figure, axes = style.panels(1, width=4.4, height=4.0)
    panel = axes[0, 0]
    panel.quiver(*points.T, *arrows.T, color="#bbbbbb", angles="xy")
    for name, T, colour in (("forward", 1.0, BLUE), ("backward", -1.0, ORANGE)):
        path = model.trajectory(x0, torch.linspace(0, T, 81)).x
        for i in range(len(x0)):
            panel.plot(*path[:, i].T, color=colour, label=name if i == 0 else None)
    panel.plot(*x0.T, "o", color="black", markersize=4, label="x(0)")
    panel.set(xlabel="$x_1$", ylabel="$x_2$", xlim=(-3, 3), ylim=(-3, 3), aspect="equal")
    panel.legend(loc="upper left", bbox_to_anchor=(1, 1))
    return figure


def reversibility(tolerances: Sequence[float], errors: Mapping[float, np.ndarray]) -> Figure:
    """The error at T, and the distance after the way back, over the tolerance, for every contraction."""
    figure, axes = style.panels(1, width=6.2, height=3.2)
    panel = axes[0, 0]
    for (rate, found), colour in zip(errors.items(), (BLUE, GREEN, RED), strict=True):
        label = f"λ = {rate:g}: there"
        panel.loglog(tolerances, found[:, 0], "o-", color=colour, markersize=3, label=f"{label} and back")
        panel.loglog(tolerances, found[:, 1], ":", color=colour, label=label)
    panel.loglog(tolerances, tolerances, color="black", linewidth=1, label="tolerance")
    panel.set(xlabel="tolerance (rtol = atol)", ylabel="worst sample's distance")
    panel.legend(loc="center left", bbox_to_anchor=(1, 0.5))
    return figure


def depth(
    depths: Sequence[int],
    errors: Mapping[str, Sequence[float]],
    order: Mapping[str, float],
    kilobytes: Mapping[str, np.ndarray],
) -> Figure:
    """Error over depth with the measured orders, and memory over depth."""
    figure, axes = style.panels(2, width=4.2, height=3.0)
    names = {"euler": "ResNet (Euler)", "midpoint": "midpoint", "rk4": "rk4"}
    for (method, name), marker, colour in zip(names.items(), "os^", (RED, ORANGE, BLUE), strict=True):
        label = f"{name}, order {order[method]:.2f}"
        axes[0, 0].loglog(depths, errors[method], marker=marker, color=colour, markersize=4, label=label)
    for gradients, marker, colour in (("direct", "o", "black"), ("adjoint", "s", BLUE)):
        axes[0, 1].loglog(depths, kilobytes[gradients], marker=marker, color=colour, markersize=4, label=gradients)
    axes[0, 0].set(xlabel="steps (blocks) K", ylabel="worst sample's error at T")
    axes[0, 1].set(xlabel="steps of rk4", ylabel="saved tensors (KB)")
    axes[0, 0].legend(fontsize=8, loc="lower left")
    axes[0, 1].legend()
    return figure


def order(bundles: Sequence[Tensor], t: Tensor) -> Figure:
    """Paths of two autonomous and of two time-dependent random fields on the line."""
    figure, axes = style.panels(4, width=2.3, height=2.3)
    for panel, k in zip(axes[0], (0, 2, 1, 3), strict=True):
        paths = bundles[k][:, ::2]
        style.paths(panel, t, paths, plt.get_cmap("coolwarm")(np.linspace(0, 1, paths.shape[1])))
        panel.set(title="f(x)" if k % 2 == 0 else "f(t, x)", xlabel="time t")
    axes[0, 0].set_ylabel("state x(t)")
    return figure
