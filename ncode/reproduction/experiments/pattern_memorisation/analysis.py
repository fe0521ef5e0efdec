"""What the page on pattern memorisation asks of its runs, live or recorded, and the theory it compares them with."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import numpy as np

from ncode.reproduction.experiments.pattern_memorisation.plans import VARIANTS
from ncode.reproduction.runs import recordings


def select(runs: Iterable, **wanted) -> list:
    """Of live or recorded runs, those whose configuration has the values ``wanted``."""
    return [run for run in runs if all(getattr(run.config, name) == value for name, value in wanted.items())]


def errors(runs: Iterable, **wanted) -> list[float]:
    """The test bit errors of :func:`select`'s runs, one a seed."""
    return [run.metrics["error"] for run in select(runs, **wanted)]


def curve(runs: Iterable, points: int = 40) -> tuple[list[int], list[list[float]]]:
    """Bit error against the number of training episodes, one row a run; the runs are of one length."""
    histories = [recordings.history(run, points) for run in runs]
    episodes_seen = [k * run.config.batch for run in runs[:1] for k in histories[0]["iteration"]]
    return episodes_seen, [history["error"] for history in histories]


def crosstalk_error(bits: int, patterns: int, degraded: float) -> float:
    """P(Z < -sqrt(n(1-p)/(m-1))) of a standard normal Z: the unknown bits that one weak Hebbian step gets wrong."""
    if patterns == 1:
        return 0.0
    return 0.5 * math.erfc(math.sqrt(bits * (1 - degraded) / (patterns - 1) / 2))


def predicted_and_measured(runs: Iterable) -> list[tuple[float, float]]:
    """For each run the error of the unknown bits, by :func:`crosstalk_error` and on the test episodes."""
    task = ("bits", "patterns", "degraded")
    return [
        (crosstalk_error(*(getattr(run.config, name) for name in task)), run.metrics["unknown_error"]) for run in runs
    ]


def against_crosstalk(ours: Iterable, controls: Iterable, weak: Iterable) -> dict[str, list[tuple[float, float]]]:
    """:func:`predicted_and_measured` of the weak, clamped rule, of the rule with μ = 1/n, and of trained N-CODE."""
    compared = {
        "untrained, weak and clamped": weak,
        "untrained, μ = 1/n": select(controls, learner="hebb"),
        "N-CODE, trained": ours,
    }
    return {name: predicted_and_measured(made) for name, made in compared.items()}


def factors(pairs: Iterable[tuple[float, float]], least: float = 0.01) -> list[float]:
    """Measured over predicted, where at least ``least`` is predicted."""
    return [measured / expected for expected, measured in pairs if expected > least]


def all_below(runs: Iterable, cases: Iterable[tuple[int, float]], seeds: int, limit: float = 0.01) -> bool:
    """Whether N-CODE's mean error is below ``limit`` in every case (m, p), with at least so many seeds in each."""
    made = [errors(runs, learner="ncode", patterns=m, degraded=p) for m, p in cases]
    return all(len(values) >= seeds and np.mean(values) < limit for values in made)


def gains(trained: Iterable, rules: Iterable) -> list[float]:
    """By how much training lowers the untrained rule's mean error, for every case that both have."""
    made = {(run.config.patterns, run.config.degraded) for run in select(trained, learner="ncode")}
    gained = []
    for m, p in sorted(made):
        if fixed := errors(rules, learner="hebb", patterns=m, degraded=p):
            gained.append(fixed[0] - np.mean(errors(trained, learner="ncode", patterns=m, degraded=p)))
    return gained


def best_rule(runs: Iterable, clamp: bool):
    """The untrained rule with the lowest validation error."""
    return min(select(runs, learner="hebb", clamp=clamp), key=lambda run: run.metrics["validation_error"])


def variant(runs: Iterable, name: str) -> list:
    """The trained runs of one of :data:`ncode.reproduction.experiments.pattern_memorisation.plans.VARIANTS`."""
    fields = {"clamp": False, "leak": 0.0, "learn_theta0": False, "spread": 0.01, "batch": 1}
    return select(runs, learner="ncode", **{**fields, **VARIANTS[name]})


def last_change(runs: Sequence) -> float:
    """How much the training episodes' bit error changed from the third to the last quarter, mean over the runs."""
    quarters = [np.array_split(np.array(row), 4) for row in curve(runs)[1]]
    return float(np.mean([last.mean() - third.mean() for *_, third, last in quarters]))


def falls(run) -> bool:
    """Whether the training episodes' bit error is lower in the last quarter of the run than in the first."""
    first, *_, last = np.array_split(np.array(curve([run])[1][0]), 4)
    return bool(last.mean() < first.mean())
