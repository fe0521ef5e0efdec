"""The reflection's numbers as rows of a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ncode.reproduction.metrics.comparison import metric
from ncode.reproduction.metrics.intervals import geometric_interval, ratio_interval
from ncode.reproduction.plotting import style
from ncode.reproduction.publishing import numbers

COLUMNS = ("model", "MSE", "95 % interval", "NODE's error / this one's", "NFE", "parameters", "solver error")


def errors(records: Mapping[str, Sequence]) -> list[list[str]]:
    """Every model's error over seeds beside NODE's, its evaluations, parameters and solver error."""
    mse = {model: metric(runs, "mse") for model, runs in records.items()}
    return [
        [
            style.LABELS[model],
            numbers.spread(mse[model]),
            numbers.interval(geometric_interval(mse[model])),
            "1" if model == "node" else numbers.interval(ratio_interval(mse["node"], mse[model])),
            numbers.spread(metric(runs, "nfe")),
            numbers.number(int(runs[0].metrics["parameters"])),
            numbers.number(max(metric(runs, "solver_error"))),
        ]
        for model, runs in records.items()
    ]
