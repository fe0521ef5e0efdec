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


def fade(runs: Runs) -> str:
    """AutoN-CODE's lines beside the cross-fade of pixels: how long they are, and how real half-way, in sentences."""
    lengths = {model: numbers.number(metric(runs[model], "excess").mean(), 3) for model in ("pixels", "ncode")}
    gap = numbers.interval(difference(runs, "ncode", "pixels", "half_way"), 3)
    return (
        f"The cross-fade's path length is {lengths['pixels']} times a straight path's, AutoN-CODE's "
        f"{lengths['ncode']} times. Half-way, AutoN-CODE's distance minus the cross-fade's is {gap} (95 % interval)."
    )
