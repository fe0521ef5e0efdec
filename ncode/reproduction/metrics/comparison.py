"""Comparing models over seeds: runs side by side, live or recorded, and whether one has a metric below another's."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from ncode.reproduction.metrics.intervals import difference_interval, is_below

Runs = Mapping[str, Sequence]
"""Runs by model, one a seed and all of the same seeds in the same order: records, live or recorded."""


def by_model(runs: Iterable, field: str = "model") -> dict[str, list]:
    """Runs by model, or by another field of their configuration: in order of appearance, of the seeds that all have."""
    runs = list(runs)
    models = dict.fromkeys(getattr(run.config, field) for run in runs)
    found = {model: {run.config.seed: run for run in runs if getattr(run.config, field) == model} for model in models}
    whole = set.intersection(*map(set, found.values())) if found else set()
    return {model: [of_seed[seed] for seed in sorted(whole)] for model, of_seed in found.items()}


def several(sets: Mapping[str, Runs]) -> dict[str, Runs]:
    """Of sets of runs those of more than one seed: one shows nothing about a difference and has no say in a verdict."""
    return {name: made for name, made in sets.items() if len(next(iter(made.values()))) > 1}


def metric(runs: Iterable, name: str, scale: float = 1.0) -> np.ndarray:
    """A metric of some runs, times ``scale``."""
    return scale * np.array([run.metrics[name] for run in runs], dtype=float)


def difference(runs: Runs, a: str, b: str, name: str, scale: float = 1.0) -> tuple[float, float]:
    """The 95 % interval for the mean of model a's metric minus model b's, paired by seed."""
    return difference_interval(metric(runs[a], name, scale), metric(runs[b], name, scale))


def below(runs: Runs, a: str, b: str, name: str) -> bool | None:
    """Whether the whole interval of :func:`difference` is below zero; ``None`` where it contains zero."""
    return is_below(difference(runs, a, b, name))
