"""Figures of the annuli: Figs. 1, 5 and A.1 of the paper, and where the open loop's field bifurcates."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.colorbar import Colorbar
from matplotlib.figure import Figure
from matplotlib.image import AxesImage

from ncode.models import Flow
from ncode.reproduction.experiments import annuli, toy
from ncode.reproduction.experiments.annuli import analysis, steering
from ncode.reproduction.experiments.annuli.analysis import Records
from ncode.reproduction.plotting import style

SIDE = torch.linspace(-2.5, 2.5, 25)
THREE = torch.tensor([[0.3, 0.1], [-1.1, 0.5], [0.6, -1.1]])
"""Three points of Fig. 1's top row: one of the disk, two of the annulus."""
PAIR = torch.tensor([[0.3, 0.0], [1.2, 0.3]])
"""Fig. A.1's two points: of the disk and of the annulus."""
RED_YELLOW_BLUE = ("#D55E00", "#E6B800", "#0072B2")
MARKS = {
    "sink": ("o", "#0072B2"),
    "saddle": ("x", "#E69F00"),
    "source": ("s", "#D55E00"),
    "degenerate": ("+", "#222222"),
}


def one_field_or_many(records: Records) -> Figure:
    """Fig. 1: above, NODE's one flow beside the open loop's field of each of three points; below, trained paths."""
    figure, axes = style.panels(2, 2, width=3.4, height=3.2)
    for panel, model in zip(axes[0], ("node", "open"), strict=True):
        flow = records[model][0].model()[0]
        for point, colour in zip(THREE, RED_YELLOW_BLUE, strict=True):
            if model == "open" or colour == RED_YELLOW_BLUE[0]:
                _streams(panel, flow, point[None], 0.0, colour if model == "open" else "black")
            _path(panel, flow, point[None], 0, colour)
        panel.set(title=style.LABELS[model])
    for panel, model in zip(axes[1], ("node", "open"), strict=True):
        _paths(panel, records[model][0].model()[0])
    _name_axes(figure)
    return figure


def paths(records: Records) -> Figure:
    """Paths of the models that Fig. 1 does not show."""
    models = [model for model in toy.FLOWS if model not in ("node", "open")]
    figure, axes = style.panels(len(models), width=2.6, height=2.6)
    for panel, model in zip(axes[0], models, strict=True):
        _paths(panel, records[model][0].model()[0])
        panel.set(title=style.LABELS[model])
    _name_axes(figure)
    return figure


def decisions_and_training(records: Records) -> Figure:
    """Fig. 5: decision maps of NODE, open and closed loop, and their training curve."""
    models = ("node", "open", "closed")
    figure, axes = style.panels(4, width=2.3, height=2.5)
    for panel, model in zip(axes[0, :3], models, strict=True):
        shown = _decision(panel, records[model][0], "Blues")
        panel.set(title=style.LABELS[model].replace("N-CODE, ", ""))
    _bar(figure, shown, axes[0, :3])
    _curves(axes[0, 3], records, "cross_entropy", models)
    axes[0, 3].set(yscale="log", xlabel="iteration", ylabel="test cross-entropy")
    axes[0, 3].legend(fontsize=7, loc="upper center", bbox_to_anchor=(0.5, 1.35))
    return figure


def other_decisions(records: Records) -> Figure:
    """Decision maps of the models that Fig. 5 does not show."""
    models = ("anode", "data", "gamma")
    figure, axes = style.panels(3, width=2.6, height=2.4, sharex=True, sharey=True)
    for panel, model in zip(axes[0], models, strict=True):
        shown = _decision(panel, records[model][0], "Blues")
        panel.set(title=style.LABELS[model])
    _bar(figure, shown, axes)
    return figure


def training(records: Records) -> Figure:
    """Cross-entropy, error and evaluations over the iterations, of all models."""
    figure, axes = style.panels(3, width=2.6, height=2.7)
    flows = [model for model in records if model != "gamma"]
    _curves(axes[0, 0], records, "cross_entropy", records)
    _curves(axes[0, 1], records, "accuracy", records, lambda accuracy: 100 * (1 - accuracy))
    _curves(axes[0, 2], records, "nfe", flows)
    axes[0, 0].set(yscale="log", ylabel="test cross-entropy")
    axes[0, 1].set(ylabel="test error (%)", ylim=(0, 60))
    axes[0, 1].set_yscale("symlog", linthresh=0.1)
    axes[0, 2].set(ylabel="evaluations (NFE)")
    for panel in axes[0]:
        panel.set_xlabel("iteration")
    style.legend(figure, axes[0, 0], columns=3)
    return figure


def frames(record) -> Figure:
    """Fig. A.1: the fields that two points see over time, inner point above, outer below."""
    flow = record.model()[0]
    times = (0.0, 0.25, 0.5, 0.75, 1.0)
    figure, axes = style.panels(len(times), 2, width=1.7, height=1.8, sharex=True, sharey=True)
    for row, (point, colour) in zip(axes, zip(PAIR, style.CLASSES, strict=True), strict=True):
        for panel, time in zip(row, times, strict=True):
            _streams(panel, flow, point[None], time, "#999999")
            _path(panel, flow, point[None], 0, colour, until=time)
    for panel, time in zip(axes[0], times, strict=True):
        panel.set_title(f"t = {time:g}")
    axes[0, 0].set_ylabel("inner point")
    axes[1, 0].set_ylabel("outer point")
    return figure


def bifurcations(record, rays: Sequence) -> Figure:
    """Equilibria along one ray of ``record``, its answers along it, and where portraits change over all ``rays``."""
    figure, axes = style.panels(3, width=2.6, height=2.5)
    for portrait, radius in zip(rays[0][0], steering.RADII, strict=True):
        for point, kind in zip(portrait.points, portrait.kinds, strict=True):
            marker, colour = MARKS[kind]
            axes[0, 0].plot(radius, point[0], marker, color=colour, markersize=3)
    axes[0, 1].plot(steering.RADII, analysis.along_a_ray(record), color=style.COLOURS["open"])
    # In the middle of the step in which the portrait changes.
    changes = np.concatenate([steering.changes(ray) for seed in rays for ray in seed]) - float(steering.RADII[1]) / 2
    axes[0, 2].hist(changes, bins=np.linspace(0, annuli.OUTER, 31), color=style.COLOURS["open"])
    for panel, label in zip(axes[0], ("equilibria, $x_1$", "P(disk)", "bifurcations"), strict=True):
        panel.axvspan(annuli.DISK, annuli.INNER, color="#eeeeee", zorder=0)
        panel.set(xlabel="radius of x(0)", ylabel=label)
    return figure


def _streams(panel: Axes, flow: Flow, x0: torch.Tensor, time: float, colour: str) -> None:
    velocity = analysis.field_seen_by(flow, x0, time, SIDE).numpy()
    options = {**style.STREAMS, "color": colour, "density": 0.55 if colour in RED_YELLOW_BLUE else 0.7}
    panel.streamplot(SIDE.numpy(), SIDE.numpy(), velocity[..., 0], velocity[..., 1], **options)
    panel.set(xlim=(-2.5, 2.5), ylim=(-2.5, 2.5), aspect="equal")


def _path(panel: Axes, flow: Flow, x0: torch.Tensor, i: int, colour: str, until: float = 1.0) -> None:
    """A sample's path, from an open circle to a dot."""
    with torch.no_grad():
        x = flow.trajectory(x0, torch.linspace(0, max(until, 1e-6), 41)).x[:, i]
    panel.plot(x[:, 0], x[:, 1], color=colour, linewidth=2)
    panel.plot(*x[0, :2], "o", color=colour, fillstyle="none")
    panel.plot(*x[-1, :2], "o", color=colour)


def _paths(panel: Axes, flow: Flow) -> None:
    """Paths of points of both classes, coloured by class; black dots mark their ends."""
    points, labels = annuli.sample(60, seed=10_001)
    with torch.no_grad():
        x = flow.trajectory(points, torch.linspace(0, 1, 41)).x
    for i, label in enumerate(labels.int()):
        colour = style.CLASSES[1 - label]
        panel.plot(x[:, i, 0], x[:, i, 1], color=colour, linewidth=0.7, alpha=0.8)
        panel.plot(*x[0, i, :2], "o", color=colour, markersize=3)
        panel.plot(*x[-1, i, :2], "o", color="black", markersize=2)
    panel.set(aspect="equal", adjustable="datalim")


def _decision(panel: Axes, record, colours: str) -> AxesImage:
    side = torch.linspace(-2, 2, 161)
    shares = analysis.probability(record, torch.cartesian_prod(side, side)).reshape(161, 161).T
    shown = panel.imshow(shares, extent=(-2, 2, -2, 2), origin="lower", vmin=0, vmax=1, cmap=f"{colours}_r")
    for radius in (annuli.DISK, annuli.INNER, annuli.OUTER):
        panel.add_patch(plt.Circle((0, 0), radius, fill=False, color="#D55E00", linewidth=1))
    panel.set(xlabel="$x_1(0)$", ylabel="$x_2(0)$")
    panel.label_outer()
    panel.grid(False)
    return shown


def _bar(figure: Figure, shown: AxesImage, axes: np.ndarray) -> Colorbar:
    return figure.colorbar(shown, ax=list(axes.flat), label="P(disk)", shrink=0.6)


def _curves(panel: Axes, records: Records, name: str, models, change=lambda values: values) -> None:
    for model in models:
        looks = np.array([run.history.evaluations[name] for run in records[model]], dtype=float)
        style.band(panel, records[model][0].history.evaluated, change(looks), model)


def _name_axes(figure: Figure) -> None:
    figure.supxlabel("$x_1$")
    figure.supylabel("$x_2$")
