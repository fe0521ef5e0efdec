"""Figures of augmentation: what flows keep, trained paths and features, maps, and how trainings end.

Each function gives the arguments of the page's call, with caption and alternative text.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.axes import Axes

from ncode import NeuralODE
from ncode.reproduction.experiments import augmentation
from ncode.reproduction.experiments.augmentation import analysis, plans
from ncode.reproduction.experiments.augmentation.analysis import Kept
from ncode.reproduction.experiments.augmentation.studies import HARD, TITLES, Studies
from ncode.reproduction.plotting import style
from ncode.reproduction.runs import recordings
from ncode.reproduction.runs.experiment import Run

DRAWN_SEED = 10_001
"""Of the points that are drawn: no run's."""

RADII = (0.5, 1.0, 1.5)
"""Edges of disk and ring."""


def topology(kept: Mapping[int, Kept]) -> dict[str, Any]:
    """One random field: paths on the line, and images of circles under the flow and under one step of Euler's."""
    figure, axes = style.panels(3, width=2.6, height=2.5)
    shades = plt.get_cmap("cividis")(np.linspace(0, 0.9, 12))
    _order(axes[0, 0], _broken(kept[1]), shades)
    for panel, solver, title in zip(
        axes[0, 1:], (analysis.ACCURATE, analysis.COARSE), ("the flow", "one Euler step"), strict=True
    ):
        flow = NeuralODE(analysis.wild_field(2, _broken(kept[2])), solver=solver)
        _circles(panel, flow, shades[::5])
        panel.set(title=title, xlabel="$x_1(T)$", ylabel="$x_2(T)$")
    return {
        "drawing": figure,
        "name": "fig-anode-topology",
        "caption": f"One random field. Left: {len(shades)} paths on the line keep their order; the dots are where one "
        "step of Euler's method puts the same points, out of order. Middle and right: the images of circles and of "
        "their centre (cross) under the flow of a field in the plane, and under one step. Colours go from the inner "
        "circle to the outer.",
        "alt": "Left: paths against time that do not cross, with scattered dots at the end. Middle: nested closed "
        "curves, deformed, around a cross. Right: the same curves crossing themselves and one another.",
    }


def _broken(kept: Kept) -> int:
    """The first random field with which one step loses what the flow keeps; the first of all if none does."""
    return kept.coarse.index(0) if 0 in kept.coarse else 0


@torch.no_grad()
def _order(axes: Axes, seed: int, shades: np.ndarray) -> None:
    """Paths on the line under a random field's flow, and where one step of Euler's method puts their points."""
    line, t = torch.linspace(-2, 2, len(shades)).double().unsqueeze(1), torch.linspace(0, 1, 41)
    field = analysis.wild_field(1, seed)
    path = NeuralODE(field, solver=analysis.ACCURATE).trajectory(line, t).x[..., 0]
    style.paths(axes, t.tolist(), path.numpy(), shades)
    ends = NeuralODE(field, solver=analysis.COARSE)(line)[:, 0]
    axes.scatter(np.ones(len(shades)), ends, c=shades, s=14, zorder=3)
    axes.set(xlabel="t", ylabel="x(t)")


@torch.no_grad()
def _circles(axes: Axes, flow: NeuralODE, shades: np.ndarray) -> None:
    angle = torch.linspace(0, 2 * torch.pi, 600).double()
    circle = torch.stack([torch.cos(angle), torch.sin(angle)], dim=1)
    for radius, shade in zip((0.4, 0.7, 1.0), shades, strict=True):
        axes.plot(*flow(radius * circle).T, color=shade)
    axes.plot(*flow(torch.zeros(1, 2).double())[0], "x", color="#D55E00")


def flip(live: Mapping[int, Sequence[Run]]) -> dict[str, Any]:
    """Paths on the line and in the augmented plane, of models trained on g.

    Args:
        live: this execution's runs by p.
    """
    starts, t = torch.linspace(-1.5, 1.5, 7).unsqueeze(1), torch.linspace(0, 1, 41)
    targets = [int(x > 0) if abs(abs(x) - 1) < 1e-3 else None for x in starts[:, 0].tolist()]
    colours = ["#aaaaaa" if target is None else style.CLASSES[target] for target in targets]
    figure, axes = style.panels(3, width=2.6, height=2.6)
    for p, panel in zip((0, 1), axes[0], strict=False):
        model = live[p][0].model()
        with torch.no_grad():
            path = model.flow.trajectory(starts, t).x
        if p == 0:
            _field(panel, model, t)
        style.paths(panel, t.tolist(), path[..., 0].numpy(), colours)
        panel.plot([1, 1], [1, -1], "x", color="black")
        panel.set(xlabel="t", ylabel="x(t)", title=style.LABELS[f"p{p}"])
    for i, colour in enumerate(colours):
        axes[0, 2].plot(*path[:, i].T, color=colour, linewidth=1)
        axes[0, 2].plot(*path[-1, i], "o", color=colour, markersize=3)
    axes[0, 2].set(xlabel="x(t)", ylabel="a(t)", title="ANODE, augmented plane")
    return {
        "drawing": figure,
        "name": "fig-anode-flip",
        "caption": "A function that swaps two points, this execution, first seed. Left: NODE's "
        "paths, with its field as streamlines; the crosses are the targets. Middle: ANODE's paths in x, which cross. "
        "Right: the same paths in the augmented plane, where they do not. The bright pair are the training points.",
        "alt": "Left: paths against time that approach each other and miss the targets. Middle: paths that cross and "
        "hit them. Right: curves in a plane that pass by one another.",
    }


@torch.no_grad()
def _field(axes: Axes, model: augmentation.Regressor, t: torch.Tensor) -> None:
    """A field on the line over time, as streamlines."""
    side = torch.linspace(-1.7, 1.7, 18)
    velocity = torch.stack([model.flow.field(s, side[:, None], {})[:, 0] for s in t])
    axes.streamplot(t.numpy(), side.numpy(), np.ones((18, 41)), velocity.T.numpy(), **style.STREAMS)


def flows(live: Mapping[int, Sequence[Run]]) -> dict[str, Any]:
    """Learned paths in the plane, as each model's own view shows them.

    Args:
        live: this execution's runs in the plane by p.
    """
    small = dataclasses.replace(live[0][0].config, points=(30, 45))
    x, y = augmentation.sample(small, DRAWN_SEED)
    figure, axes = style.panels(len(live), width=1.95, height=2.2)
    for panel, (p, runs) in zip(axes[0], live.items(), strict=True):
        path = analysis.view(runs[0].model(), x, torch.linspace(0, 1, 31))
        for i, target in enumerate(y):
            colour = style.CLASSES[int(target > 0)]
            panel.plot(*path[:, i].T, color=colour, linewidth=0.6, alpha=0.7)
            panel.plot(*path[0, i], "o", color=colour, markersize=2, fillstyle="none")
            panel.plot(*path[-1, i], "o", color=colour, markersize=2.5)
        panel.set(title=style.LABELS[f"p{p}"], aspect="equal", adjustable="datalim")
    figure.supxlabel("along the readout")
    figure.supylabel("across it")
    return {
        "drawing": figure,
        "name": "fig-anode-flows",
        "caption": "Learned flows in the plane, this execution, first seed: paths from open circles to dots. The "
        "horizontal axis is the readout's direction, the vertical the widest direction across it. For NODE this is all "
        "there is, for ANODE it is a projection. Blue is to be mapped low, red high.",
        "alt": f"{len(live)} panels of paths. For NODE the disk is pressed into the thinned side of the ring; with "
        "added dimensions the two classes move apart.",
    }


def evolution(profile: str, compared: Sequence[int] = (0, 5)) -> dict[str, Any]:
    """Features x(T) in the course of training: runs of fewer epochs are the beginnings of longer ones."""
    example = {config.augment: config for config in plans.configs("plane", profile) if config.seed == 0}
    x, y = augmentation.sample(dataclasses.replace(example[0], points=(150, 300)), DRAWN_SEED)
    last = example[0].epochs
    stages = [0, *sorted({-(-last // 4), -(-last // 2)} - {last}), last]
    figure, axes = style.panels(len(stages), len(compared), width=7.8 / len(stages), height=2)
    for row, p in zip(axes, compared, strict=True):
        for panel, stage in zip(row, stages, strict=True):
            ends = analysis.view(_trained(example[p], stage), x, [0.0, 1.0])[-1]
            for sign, colour in zip((-1, 1), style.CLASSES, strict=True):
                panel.plot(*ends[y == sign].T, "o", color=colour, markersize=1.5)
            panel.set(title=f"p = {p}, epoch {stage}", aspect="equal", adjustable="datalim")
    figure.supxlabel("along the readout")
    figure.supylabel("across it")
    return {
        "drawing": figure,
        "name": "fig-anode-evolution",
        "caption": "Features x(T) during training, this execution, first seed, at the start and after the epochs "
        "given, in each model's own view as above. NODE presses the disk into the ring, which it stretches thin; ANODE "
        "slides the classes apart.",
        "alt": f"Two rows of {len(stages)} scatter plots. In the upper, a disk inside a ring is pressed against its "
        "thinning side; in the lower the two classes separate at once.",
    }


def _trained(config: augmentation.Config, epochs: int) -> torch.nn.Module:
    """The model of ``config`` after so many epochs."""
    if not epochs:
        return augmentation.build(config)
    return augmentation.experiment.run(dataclasses.replace(config, epochs=epochs)).model()


def training(studies: Studies) -> dict[str, Any]:
    """Losses, errors and evaluations over training in the plane, and evaluations against the loss that they buy."""
    figure, axes = style.panels(2, 2, width=3.9, height=2.3)
    for p, runs in studies.shown["plane"].items():
        when = analysis.epochs(runs)
        for panel, name, scale in zip(axes.flat, ("loss", "error", "nfe"), (1, 100, 1), strict=False):
            style.band(panel, when, scale * analysis.looks(runs, name), f"p{p}")
        loss, nfe = (analysis.looks(runs, name).ravel() for name in ("loss", "nfe"))
        axes[1, 1].plot(loss, nfe + 0.6 * (p - 2), "o", color=style.COLOURS[f"p{p}"], markersize=2)
    labels = ("training loss (Huber)", "error on fresh points (%)", "NFE", "NFE")
    for panel, label in zip(axes.flat, labels, strict=True):
        panel.set(xlabel="epoch", ylabel=label)
    axes[1, 1].set(xlabel="training loss (Huber)", xscale="log")
    axes[0, 0].set_yscale("log")
    axes[0, 1].set_yscale("symlog", linthresh=0.1)
    style.legend(figure, axes[0, 0])
    return {
        "drawing": figure,
        "name": "fig-anode-training",
        "caption": f"{studies.described('plane')}: training loss, error on fresh points, and evaluations (NFE) of a "
        "forward solve over training, median and range over seeds. Bottom right: evaluations against the loss that "
        "they buy, every look of every seed; dots of different p are shifted a little to be told apart.",
        "alt": "Four panels. NODE's loss and error lie above the others' and its evaluations grow.",
    }


@torch.no_grad()
def maps(live: Mapping[int, Sequence[Run]]) -> dict[str, Any]:
    """The output at every point of the plane; argument as of :func:`flows`."""
    side = torch.linspace(-2, 2, 141)
    grid = torch.cartesian_prod(side, side)
    figure, axes = style.panels(len(live), width=1.85, height=2.1, sharey=True)
    for panel, (p, runs) in zip(axes[0], live.items(), strict=True):
        out = runs[0].model()(grid).reshape(len(side), len(side)).T
        image = panel.imshow(out, extent=(-2, 2, -2, 2), origin="lower", vmin=-1.2, vmax=1.2)
        for radius in RADII:
            panel.add_patch(plt.Circle((0, 0), radius, fill=False, color="white", linewidth=0.8))
        panel.set(title=style.LABELS[f"p{p}"], xlabel="$x_1(0)$")
        panel.grid(False)
    axes[0, 0].set_ylabel("$x_2(0)$")
    figure.colorbar(image, ax=axes, label="output", shrink=0.7)
    return {
        "drawing": figure,
        "name": "fig-anode-map",
        "caption": "The output at every x(0), this execution, first seed; circles are the edges of disk and ring. The "
        "disk should be blue, the ring yellow.",
        "alt": f"{len(live)} maps over the plane. NODE's low region leaks through the ring; the others' is closed.",
    }


def stability(studies: Studies) -> dict[str, Any]:
    """Evaluations of every training step where we provoke, and where a run ends in a failed solve."""
    figure, axes = style.panels(2, width=3.9, height=2.6, sharey=True)
    for panel, study in zip(axes[0], HARD, strict=True):
        for p, runs in studies.shown[study].items():
            _steps(panel, p, runs)
        style.plain_log(panel.yaxis)
        panel.set(title=TITLES[study], xlabel="iteration")
    axes[0, 0].set_ylabel("NFE")
    style.legend(figure, axes[0, 0])
    return {
        "drawing": figure,
        "name": "fig-anode-stability",
        "caption": "Where we provoke: evaluations (NFE) of every training step, one line a seed, on "
        + " and ".join(f"{TITLES[study]} ({studies.where(study)})" for study in HARD)
        + ". A line that ends before the others ended in a failed solve (cross).",
        "alt": "Two panels of jagged lines on a log scale, NODE's and ANODE's; some end early in a cross.",
    }


def _steps(axes: Axes, p: int, runs: Sequence) -> None:
    look = style.line(f"p{p}") | {"linewidth": 0.8, "linestyle": "-"}
    for k, run in enumerate(runs):
        history = recordings.history(run)
        steps, nfe = np.array(history["iteration"]), np.array(history["nfe"], dtype=float)
        axes.plot(steps, nfe, **(look | {"label": None if k else look["label"]}))
        if np.isfinite(run.metrics["failed_at"]):
            axes.plot(steps[-1:], nfe[np.isfinite(nfe)][-1:], "x", color=look["color"], markersize=6)
