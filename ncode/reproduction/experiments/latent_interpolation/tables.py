"""Interpolation's measures as rows of a table, and as sentences."""

from __future__ import annotations

from collections.abc import Mapping

from ncode.reproduction.experiments.latent_interpolation.analysis import label
from ncode.reproduction.metrics.comparison import Runs, difference, metric
from ncode.reproduction.publishing import numbers

MEASURES = {
    "excess": "path length / straight path's",
    "peak": "fastest / mean speed",
    "jump": "largest / mean step, 95th percentile",
    "square_peak": "square: largest / mean step",
    "half_way": "Fréchet distance, half-way",
    "ends": "at the ends",
    "length": "perceptual path length",
}
"""What is measured, and its heading."""

COLUMNS = ("data", "model", *MEASURES.values())
"""The headings of :func:`smoothness`."""


def smoothness(named: Mapping[str, Runs]) -> list[list[str]]:
    """Every measure of every model, by set of runs."""
    return [
        [name, label(model), *(numbers.spread(metric(of_model, measure)) for measure in MEASURES)]
        for name, runs in named.items()
        for model, of_model in runs.items()
    ]


def fade(sets: Mapping[str, Runs]) -> str:
    """The cross-fade of pixels beside the models' lines, as Markdown: how long, and how real half-way, set by set."""
    return "\n".join(f"- {name}: {_fade(runs)}" for name, runs in sets.items())


def _fade(runs: Runs) -> str:
    lengths = {
        model: numbers.number(metric(runs[model], "excess").mean(), 3) for model in ("pixels", "ncode", "autoencoder")
    }
    low, high = difference(runs, "ncode", "pixels", "half_way")
    real = "So neither is shown to be nearer to real images"
    if high < 0:
        real = "So AutoN-CODE's images half-way are nearer to real ones"
    elif low > 0:
        real = "So the cross-fade's images half-way are nearer to real ones"
    return (
        f"the cross-fade's path length is {lengths['pixels']} times a straight path's, AutoN-CODE's {lengths['ncode']} "
        f"times and the autoencoder's {lengths['autoencoder']} times. Half-way, AutoN-CODE's distance from the test "
        f"images minus the cross-fade's is {numbers.interval((low, high), 3)} (95 % interval). {real}."
    )
