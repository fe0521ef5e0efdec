"""Figures of image classification: courses of training (Fig. A.2), sizes of images, an image's own kernels, gaps.

Each function gives the arguments of the page's call, with caption and alternative text.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch.nn import functional as F

from ncode.reproduction.experiments.image_classification import analysis, curves, sets
from ncode.reproduction.metrics.comparison import Runs
from ncode.reproduction.plotting import style

PANELS = (
    ("epoch", "accuracy"),
    ("iteration", "step_loss"),
    ("epoch", "loss"),
    ("nfe", "loss"),
    ("epoch", "nfe"),
    ("nfe_total", "accuracy"),
)
"""Fig. A.2's."""

AUGMENTATION = (
    ("epoch", "train_loss"),
    ("epoch", "accuracy"),
    ("epoch", "nfe"),
    ("nfe", "accuracy"),
    ("epoch", "loss_gap"),
    ("epoch", "accuracy_gap"),
)
"""The panels of the page on augmentation."""

GAPS = ("anode", "data", "open", "mix")
"""Whose gaps are drawn."""


def course(made: Runs, name: str, kind: str) -> dict[str, Any]:
    """Fig. A.2's six panels for one set of runs.

    Args:
        name: the figure's.
        kind: of runs, such as ``"recorded"``.
    """
    return {
        "drawing": curves.grid(made, PANELS),
        "name": name,
        "caption": f"Fig. A.2 anew, {sets.described(sets.example(made), kind)} ({sets.budget(made)}). Above: accuracy "
        "and losses over training. Below: evaluations (NFE) of an adaptive solve against the loss, over training, and "
        "against accuracy. Lines and bands are median and range over seeds. Where NFE is on the axis below, they are "
        "means; in the last panel NFE is summed over all looks so far.",
        "alt": f"Six panels of curves, one line for each of {len(made)} models: "
        f"{', '.join(style.LABELS[model] for model in made)}.",
    }


def augmentation(made: Runs, name: str, kind: str) -> dict[str, Any]:
    """The page on augmentation's six panels for one set of runs; arguments as of :func:`course`."""
    return {
        "drawing": curves.grid(made, AUGMENTATION),
        "name": name,
        "caption": f"All models, {sets.described(sets.example(made), kind)} ({sets.budget(made)}). Above: training "
        "loss, accuracy and evaluations (NFE) over training. Below: evaluations against accuracy, and the two gaps "
        "between training and validation. Median and range over seeds; where NFE is on the axis below, means at every "
        "look.",
        "alt": f"Six panels of curves, one line for each of {len(made)} models: "
        f"{', '.join(style.LABELS[model] for model in made)}.",
    }


def by_size(sizes: Sequence[int], reached: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """Test error against the images' size.

    Args:
        sizes, reached: as of :func:`~ncode.reproduction.experiments.image_classification.sets.by_size`.
    """
    figure, axes = style.panels(1, width=4.2, height=3.0)
    for model, values in reached.items():
        style.band(axes[0, 0], sizes, 100 - values, model)
    axes[0, 0].set(xlabel="pixels a side", ylabel="test error %", xticks=sizes)
    style.plain_log(axes[0, 0].yaxis)
    style.legend(figure, axes[0, 0], columns=2)
    return {
        "drawing": figure,
        "name": "fig-images-sizes",
        "caption": "Test error on MNIST against the images' size, recorded runs, median and range over seeds.",
        "alt": f"One line for each of {len(reached)} models, test error against pixels a side.",
    }


def kernels(run) -> dict[str, Any]:
    """An image of every class, and below it how its own 3×3 kernels differ from the mean image's.

    Args:
        run: a live run of the open loop.
    """
    x, y, own = analysis.own_kernels(run)
    limit = own.abs().max().item()
    figure, axes = style.panels(len(x), 2, width=0.78, height=0.85)
    for column, image in enumerate(x):
        axes[0, column].imshow(picture(image), cmap="gray")
        axes[1, column].imshow(mosaic(own[column]), cmap="PuOr", vmin=-limit, vmax=limit)
        axes[0, column].set_title(int(y[column]), fontsize=8)
    for axis in axes.flat:
        axis.set(xticks=[], yticks=[], facecolor="black")
        axis.grid(False)
    return {
        "drawing": figure,
        "name": "fig-images-kernels",
        "caption": f"One image of each class and, below it, how its 3×3 kernels differ from the mean: {own.shape[1]} "
        f"by {own.shape[2]} kernels with black lines between them, one scale for all.",
        "alt": f"{len(x)} small images, below each a mosaic of {own.shape[1] * own.shape[2]} three by three kernels.",
    }


def gaps(shown: Mapping[str, Runs]) -> dict[str, Any]:
    """How far the validation loss stays behind the training loss, for each set of runs."""
    figure, axes = style.panels(len(shown), 1, width=2.6, height=2.8)
    for axis, (name, made) in zip(axes[0], shown.items(), strict=True):
        flows = {model: made[model] for model in GAPS if model in made}
        curves.panel(axis, flows, "epoch", "loss_gap")
        axis.set_title(name.replace(", ", "\n"), fontsize=8)
        axis.axhline(0, color="#999999", linewidth=0.8)
        late = [curves.curves(runs)["loss_gap"][:, -2:].max() for runs in flows.values()]
        if (top := max(late)) > 0:
            axis.set_ylim(-0.5 * top, 1.3 * top)
    style.legend(figure, axes[0, 0], columns=2)
    return {
        "drawing": figure,
        "name": "fig-images-gap",
        "caption": "Validation loss minus the training loss since the look before, over training; median and range "
        "over seeds.",
        "alt": f"One panel for each of {len(shown)} sets of runs, one line for each model.",
    }


def picture(image: torch.Tensor) -> torch.Tensor:
    """A standardised image (c, h, w) as (h, w, c) between 0 and 1."""
    return ((image - image.min()) / (image.max() - image.min())).movedim(0, 2)


def mosaic(kernels: torch.Tensor) -> torch.Tensor:
    """(outputs, inputs, h, w) kernels side by side in one picture, with a line of NaN after each."""
    return F.pad(kernels, (0, 1, 0, 1), value=torch.nan).movedim(2, 1).flatten(2).flatten(0, 1)
