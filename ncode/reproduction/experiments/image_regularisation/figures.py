"""The figures of γ's variations: what tuning found, and what decay does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from ncode.reproduction.experiments.image_regularisation import studies, variations
from ncode.reproduction.experiments.image_regularisation.analysis import Study
from ncode.reproduction.metrics.comparison import metric
from ncode.reproduction.plotting import style

EDGE = 1.6
"""A loss beyond so many times the smallest is drawn at the panel's edge."""


def tuning(tuned: Mapping[str, Mapping[tuple[str, str], list]]) -> dict[str, Any]:
    """The validation loss of every variation, one panel a data set: the arguments of the page's call."""
    figure, axes = style.panels(len(tuned), 1, width=3.8, height=3.9, sharey=True)
    for axis, (title, made) in zip(axes[0], tuned.items(), strict=True):
        tuning_panel(axis, made, title)
    return {
        "drawing": figure,
        "name": "fig-images-tuning",
        "caption": "Validation loss of every variation after the same training, recorded, one seed; lower is better. "
        "Circles: the open loop; triangles: ANODE; dashed: the best ANODE. A loss beyond the panel is drawn at its "
        "edge.",
        "alt": f"For each of {len(tuned)} data sets a column of points, one for each variation, and a dashed line.",
    }


def tuning_panel(axes: Axes, tuned: Mapping[tuple[str, str], list], title: str) -> None:
    """Draw the validation loss of every variation of a tuning: the open loop's as circles, ANODE's as triangles."""
    losses = {of: made[0].metrics["validation_loss"] for of, made in tuned.items()}
    names = list(variations.VARIATIONS["open"])[::-1]
    edge = EDGE * min(losses.values())
    for (model, name), loss in losses.items():
        # Two losses at the edge are both in sight.
        marker, aside = ("o", 0.15) if model == "open" else ("^", -0.15)
        axes.plot(min(loss, edge), names.index(name) + aside, marker, color=style.COLOURS[model], clip_on=False)
    anode = min(loss for (model, _), loss in losses.items() if model == "anode")
    axes.axvline(anode, color=style.COLOURS["anode"], linestyle="--", linewidth=1)
    axes.set(xlabel="validation loss", title=title.split(", ")[1], yticks=range(len(names)))
    axes.set_yticklabels(names)


def decayed(made: Mapping[str, Study]) -> dict[str, Any]:
    """Test accuracy and the deviation of θ against γ's weight decay, of the studies that have every decay."""
    drawn = {title: runs for title, roles in made.items() if (runs := every_decay(roles))}
    figure, axes = style.panels(2, len(drawn), width=3.8, height=2.9)
    for pair, (title, runs) in zip(axes, drawn.items(), strict=True):
        decay_panels(*pair, runs, made[title]["ANODE, tuned"][1])
        pair[0].set_title(title.split(", ", 1)[1], loc="left", fontsize="medium")
    style.legend(figure, axes[0][0])
    return {
        "drawing": figure,
        "name": "fig-images-decay",
        "caption": "The open loop with more and more weight decay of γ, at one learning rate: test accuracy beside "
        "the tuned ANODE's, dotted where the trained model gets one θ for all images; and how much θ differs between "
        "images, in squares of an ordinary kernel's size. Lines and bands are median and range over seeds.",
        "alt": "Two panels over weight decay: the open loop's accuracy beside ANODE's, and the deviation of θ.",
    }


def every_decay(roles: Study) -> dict[float, Sequence]:
    """The open loop's runs by decay, at one learning rate; empty where a study has the tuned ones alone."""
    return {of[1][1]: runs for role, (of, runs) in roles.items() if role.startswith("open loop, decay ")}


def decay_panels(left: Axes, right: Axes, series: Mapping[float, Sequence], anode: Sequence) -> None:
    """Draw accuracy and deviation of the open loop against its decay; every decay is as far from the next."""
    places, theirs = np.arange(len(series)), 100 * metric(anode, "test_accuracy")
    accuracy, unsteered, deviation = (
        np.stack([metric(runs, name) for runs in series.values()], axis=1)
        for name in ("test_accuracy", "unsteered_accuracy", "control_deviation")
    )
    style.band(left, places, 100 * accuracy, "open")
    left.plot(places, 100 * np.median(unsteered, 0), ".:", color=style.COLOURS["open"], label="one θ for all images")
    style.band(left, places, np.repeat(theirs[:, None], len(series), axis=1), "anode")
    style.band(right, places, deviation, "open")
    left.set_ylabel("test accuracy, %")
    right.set(ylabel="deviation of θ", yscale="log")
    for axes in (left, right):
        axes.set_xlabel("weight decay of γ")
        axes.set_xticks(places, [f"{decay:g}" for decay in series])


def causes(made: Mapping[str, Study]) -> dict[str, Any]:
    """Accuracy on training images and on test images of every variant of the study of causes."""
    (roles,) = made.values()
    figure, axes = style.panels(1, width=7.0, height=0.38 * len(roles) + 0.9)
    for place, ((variant, _), runs) in enumerate(reversed(roles.values())):
        colour = style.COLOURS["anode" if variant.startswith(studies.ANODE) else "open"]
        for name, face in (("fitted_accuracy", "none"), ("test_accuracy", colour)):
            values = 100 * metric(runs, name)
            axes[0][0].plot(values, [place] * len(values), "o", color=colour, markerfacecolor=face, markersize=4)
            axes[0][0].plot([values.mean()] * 2, [place - 0.3, place + 0.3], color=colour)
    names = [variant for (variant, _), _ in reversed(roles.values())]
    axes[0][0].set(xlabel="accuracy, %", yticks=range(len(names)), yticklabels=names)
    return {
        "drawing": figure,
        "name": "fig-images-causes",
        "caption": "One thing changed at a time, each variant at its own best of as many trials. Filled: test images; "
        "hollow: training images. A dot is a seed, a bar the mean.",
        "alt": f"{len(names)} rows of dots, one for each variant, at its accuracies.",
    }
