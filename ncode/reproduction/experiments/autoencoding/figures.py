"""Figures of autoencoding: the model, reconstructions along orbits, how images form, and the scale of θ.

Functions that make a numbered figure give the arguments of the page's call, with caption and alternative text.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ncode.reproduction.data.datasets import title
from ncode.reproduction.experiments.autoencoding.analysis import orbit_picture, pictured, setting
from ncode.reproduction.experiments.autoencoding.study import Study
from ncode.reproduction.plotting import diagrams, style
from ncode.reproduction.runs import recordings
from ncode.reproduction.runs.experiment import Run

LINES = {
    "none": ("#777777", "x"),
    "tanh": ("#0072B2", "o"),
    "row": ("#D55E00", "^"),
    "sample": ("#009E73", "s"),
    "batch": ("#CC79A7", "D"),
}
"""Colour and mark of every normalisation."""


def diagram() -> dict[str, Any]:
    """AutoN-CODE as a block diagram."""
    figure, axis = plt.subplots(figsize=(7.0, 2.5))
    diagrams.autoencoder(axis, "#dcebf7")
    return {
        "drawing": figure,
        "name": "fig-auto-diagram",
        "caption": "AutoN-CODE. The encoder sets the coupling of a linear flow, and the decoder reads where it carries "
        "a start that all images share.",
        "alt": "Block diagram: image, encoder, code, normalise, theta into the flow x' = theta x from a shared start, "
        "x(T), decoder, image.",
    }


def orbit(run: Run) -> dict[str, Any]:
    """Reconstructions along the orbits of a live AutoN-CODE (Fig. 7)."""
    images, times = orbit_picture(run)
    return {
        "drawing": orbits(images, times),
        "name": "fig-auto-orbit",
        "caption": "Fig. 7 anew, this execution: what the decoder makes of x(t) on the way from the start that all "
        "images share (left) to x(T), at the times above. The last column is the image itself.",
        "alt": f"{len(images)} rows of images; from left to right a common shape turns into the image at the right "
        "end.",
    }


def recorded_orbit(name: str, figure: str, printed: str) -> dict[str, Any]:
    """The same of a recorded AutoN-CODE, whose picture is kept beside its recording.

    Args:
        name: the picture's.
        figure: the figure's, such as ``"mnist"``.
        printed: the paper's figure.

    Raises:
        ValueError: when there is no such picture.
    """
    shown = recordings.find_picture(name)
    if shown is None:
        raise ValueError(f"name: there is no picture {name!r}")
    config = pictured(shown)
    data = title(config.dataset, config.variant)
    return {
        "drawing": orbits(shown.images, shown.facts["times"]),
        "name": f"fig-auto-orbit-{figure}",
        "caption": f"{printed} anew: the same for a recorded AutoN-CODE, {setting(config)}.",
        "alt": f"{len(shown.images)} rows of images of {data}; from left to right the start that all share turns into "
        "a reconstruction of the image at the right end.",
    }


def orbits(images: Float[np.ndarray, "rows columns c h w"], times: Sequence[float]) -> Figure:
    """What :func:`~ncode.reproduction.experiments.autoencoding.analysis.orbit_picture` gives, as a picture."""
    figure, axes = style.panels(1, width=5.6, height=5.2)
    draw_orbit(axes[0, 0], images, times)
    return figure


def draw_orbit(axes: Axes, images: Float[np.ndarray, "rows columns c h w"], times: Sequence[float]) -> None:
    """Draw rows of images with the times above."""
    style.pictures(axes, images)
    width = images.shape[4]
    axes.xaxis.tick_top()
    axes.set_xticks(
        [(k + 0.5) * width - 0.5 for k in range(len(times) + 1)], [*(f"{t:.3g}" for t in times), "image"], fontsize=8
    )
    axes.tick_params(length=0)


def formation(study: Study) -> dict[str, Any]:
    """The error along AutoN-CODE's orbit, and along straight lines in both models."""
    ours, plain = study.followed["ncode"], study.followed["autoencoder"]
    figure, axes = style.panels(2, width=3.7, height=2.7, sharey=True)
    left, right = axes[0]
    style.band(left, ours[0].array("t"), np.array([run.array("orbit") for run in ours]), "autoncode")
    left.axvline(study.best.horizon, color="black", linewidth=0.8)
    left.set(xlabel="time $t$", ylabel="squared error a pixel")
    for name, runs in (("autoncode", ours), ("autoencoder", plain)):
        style.band(right, runs[0].array("shares"), np.array([run.array("line") for run in runs]), name)
    right.set(xlabel="share of the straight line")
    style.legend(figure, right)
    return {
        "drawing": figure,
        "name": "fig-auto-formation",
        "caption": "Squared error between the image and what is decoded along the path, mean over validation images, "
        "median and range over seeds, this execution. Left: along AutoN-CODE's orbit, and beyond the horizon. Right: "
        "along the straight line from the mean latent, in both models.",
        "alt": "Two panels: error against time falls steeply and is flat around T; error against the share of a "
        "straight line falls alike.",
    }


def scales(study: Study) -> dict[str, Any]:
    """Validation loss against the scale of θ's entries, by normalisation; above, the horizon that does the same."""
    figure, axis = plt.subplots(figsize=(6.2, 3.4))
    for name, one in study.tuned.items():
        colour, mark = LINES[name]
        shown = [value if np.isfinite(value) else np.nan for value in one.tried.values()]
        axis.plot(list(one.tried), shown, color=colour, marker=mark, markersize=5, label=name)
    horizon, reference = study.best.horizon, 0.2
    factor = horizon / reference
    axis.set(xscale="log", xlabel=f"scale $s$ of θ's entries, $T = {horizon:g}$", ylabel="nats an image")
    axis.set_xticks(study.scales, [f"{scale:g}" for scale in study.scales])
    top = axis.secondary_xaxis("top", functions=(lambda s: factor * s, lambda t: t / factor))
    top.set_xlabel(f"horizon $T$ at scale {reference:g}")
    top.set_xticks([factor * s for s in study.scales], [f"{factor * s:g}" for s in study.scales])
    for axes in (axis, top):
        axes.set_xticks([], minor=True)
    axis.legend(title="normalisation")
    return {
        "drawing": figure,
        "name": "fig-auto-scale",
        "caption": "Validation loss against the scale of the entries, one run each, for every normalisation. Above: "
        f"the horizon that does the same to entries of scale {reference:g}.",
        "alt": f"{len(study.tuned)} lines of loss against scale.",
    }
