"""How sure a comparison over seeds is: intervals, and what they decide."""

from __future__ import annotations

import warnings
from collections.abc import Iterable

import numpy as np
from scipy import stats

from ncode.arguments import arguments, instance, integer, real
from ncode.reproduction.metrics.points import Values, bounds
from ncode.reproduction.metrics.points import values as values_


@arguments(values=values_, confidence=real(above=0, below=1))
def interval(values: Values, confidence: float = 0.95) -> tuple[float, float]:
    """Student's interval for the mean of ``values``; NaN where there are fewer than two.

    Few seeds make it wide: that is its point. It assumes the values are roughly normal, so give it logarithms
    where they spread over orders of magnitude (:func:`ratio_interval`).
    """
    values = np.asarray(values, dtype=float)
    if len(values) < 2:
        return float("nan"), float("nan")
    with warnings.catch_warnings():
        # Of equal values there is nothing to be precise about: the interval is a point.
        warnings.filterwarnings("ignore", message="Precision loss occurred")
        low, high = stats.ttest_1samp(values, 0.0).confidence_interval(confidence)
    return float(low), float(high)


@arguments(a=values_, b=values_, confidence=real(above=0, below=1))
def difference_interval(a: Values, b: Values, confidence: float = 0.95) -> tuple[float, float]:
    """The interval for the mean of a - b, paired by seed."""
    return interval(_difference(a, b), confidence)


@arguments(a=values_, b=values_, confidence=real(above=0, below=1))
def ratio_interval(a: Values, b: Values, confidence: float = 0.95) -> tuple[float, float]:
    """The interval for the geometric mean of a / b, paired by seed; both positive."""
    a, b = _positive("a", a), _positive("b", b)
    low, high = interval(_difference(np.log(a), np.log(b)), confidence)
    return float(np.exp(low)), float(np.exp(high))


@arguments(values=values_, confidence=real(above=0, below=1))
def geometric_interval(values: Values, confidence: float = 0.95) -> tuple[float, float]:
    """The interval for the geometric mean of positive ``values``."""
    return ratio_interval(_positive("values", values), np.ones(len(values)), confidence)


@arguments(interval=bounds, level=real())
def is_above(interval: tuple[float, float], level: float = 0.0) -> bool | None:
    """Whether all of an interval lies above ``level``; ``None`` where it contains it, which decides nothing."""
    low, high = interval
    if low > level:
        return True
    return False if high < level or low == high == level else None


@arguments(interval=bounds, level=real())
def is_below(interval: tuple[float, float], level: float = 0.0) -> bool | None:
    """Whether all of an interval lies below ``level``; ``None`` where it contains it, which decides nothing."""
    low, high = interval
    return is_above((-high, -low), -level)


@arguments(answers=instance(Iterable))
def every(answers: Iterable[bool | None]) -> bool | None:
    """Whether all answers are yes: no where one is no, undecided (``None``) where one is undecided and none is no."""
    answers = list(answers)
    return False if False in answers else None if None in answers else True


@arguments(a=values_, b=values_, confidence=real(above=0, below=1), most=integer(2, 10**6))
def seeds_needed(a: Values, b: Values, confidence: float = 0.95, most: int = 1000) -> int | None:
    """How many seeds it would take until the interval for the mean of a - b, paired by seed, excludes zero.

    That is, if mean and standard deviation of the difference stayed what they are over the seeds at hand: of three
    seeds both are rough, and so is this number.

    Returns:
        The number of seeds in all; ``None`` with fewer than two seeds at hand, or when ``most`` would not do.
    """
    difference = _difference(a, b)
    if len(difference) < 2:
        return None
    n = np.arange(2, most + 1)
    half = stats.t.ppf((1 + confidence) / 2, n - 1) * difference.std(ddof=1) / np.sqrt(n)
    enough = n[half < abs(difference.mean())]
    return int(enough[0]) if len(enough) else None


def _difference(a: Values, b: Values) -> np.ndarray:
    if len(a) != len(b):
        raise ValueError(f"a, b: are paired, but have {len(a)} and {len(b)} values")
    return np.asarray(a, dtype=float) - np.asarray(b, dtype=float)


def _positive(name: str, given: Values) -> np.ndarray:
    array = np.asarray(given, dtype=float)
    if (array <= 0).any():
        raise ValueError(f"{name}: must be positive, not {array.min()}")
    return array
