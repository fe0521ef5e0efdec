"""The figure of γ's variations: what tuning found."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from matplotlib.axes import Axes

from ncode.reproduction.experiments.image_regularisation import variations
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
