"""Evidence from runs: the estimate and the 95 % interval that answer a question at one setting."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ncode.reproduction.claims.questions import DECLARED, Evidence
from ncode.reproduction.metrics import intervals
from ncode.reproduction.metrics.intervals import Values


def mean(part: str, setting: str, nearness: str, values: Values, runs: Sequence = ()) -> Evidence:
    """The mean of ``values``, one a seed."""
    values = np.asarray(values, dtype=float)
    return _measured(part, setting, nearness, values, intervals.interval(values), runs)


def difference(part: str, setting: str, nearness: str, a: Values, b: Values, runs: Sequence = ()) -> Evidence:
    """The mean of a - b, paired by seed."""
    return mean(part, setting, nearness, np.asarray(a, dtype=float) - np.asarray(b, dtype=float), runs)


def ratio(part: str, setting: str, nearness: str, a: Values, b: Values, runs: Sequence = ()) -> Evidence:
    """The geometric mean of a / b, paired by seed; both positive."""
    logs = np.log(np.asarray(a, dtype=float)) - np.log(np.asarray(b, dtype=float))
    low, high = intervals.interval(logs)
    made = _measured(part, setting, nearness, logs, (float(np.exp(low)), float(np.exp(high))), runs)
    return replace(made, estimate=float(np.exp(logs.mean())))


def accuracies(
    part: str, setting: str, nearness: str, a: Values, b: Values, images: int, runs: Sequence = ()
) -> Evidence:
    """The difference of two test accuracies in points, paired by seed; with the test set's own sampling error.

    Seeds share their test images, so their interval says nothing of which images those are. Two independent binomials
    bound what that adds: the same images are easy for both models, which only makes the difference surer.

    Args:
        a, b: accuracies between 0 and 1.
        images: of the test set.
    """
    a, b = np.asarray(a, dtype=float), np.asarray(b, dtype=float)
    made = difference(part, setting, nearness, 100 * a, 100 * b, runs)
    half = (made.interval[1] - made.interval[0]) / 2
    variance = (a.mean() * (1 - a.mean()) + b.mean() * (1 - b.mean())) / images
    wide = float(np.hypot(half, 100 * 1.96 * np.sqrt(variance)))
    return replace(made, total=(made.estimate - wide, made.estimate + wide))


def case(one: Evidence, of: str) -> Evidence:
    """The same evidence as one of several cases that a question is about."""
    return replace(one, of=of)


def exact(part: str, setting: str, nearness: str, holds: bool, seeds: int = 0, runs: Sequence = ()) -> Evidence:
    """A proof, or a check that has no interval."""
    ids = tuple(run.id for run in runs)
    return Evidence(part, setting, nearness, seeds, exact=bool(holds), runs=ids, started=_started(runs))


def _measured(part, setting, nearness, values: np.ndarray, bounds: tuple[float, float], runs: Sequence) -> Evidence:
    ids = tuple(run.id for run in runs)
    estimate = float(values.mean())
    return Evidence(part, setting, nearness, len(values), estimate, bounds, runs=ids, started=_started(runs))


def _started(runs: Sequence) -> tuple[str, ...]:
    """When the first and the last of ``runs`` started, to the minute, in UTC."""
    times = sorted(map(minute, runs))
    return (times[0], times[-1]) if times else ()


def minute(run) -> str:
    """When a run started, as questions are dated: ``2026-11-26 20:01`` (UTC)."""
    return run.provenance["started"][: len(DECLARED)].replace("T", " ")
