"""The loop of a solve: which steps are tried, and which are taken.

Steps come out one by one, as they are taken: who wants the path, its cost, its end or its gradient looks at each. All
times are Python's floats, so float64, whatever the state's dtype.
"""

from __future__ import annotations

import functools
import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ncode.solvers.finite import finite
from ncode.solvers.norms import worst
from ncode.solvers.step import Norm, Step, Taken, Tolerances, Weights
from ncode.solvers.stepsize import Integral, Proportional

RECENT = 64
"""Steps back that are looked at to say which sample needs so many."""


class Stopped(Exception):
    """A solve that cannot go on: the loop's own report, which its caller turns into a ``SolveError``.

    Attributes:
        reason: as of ``SolveError``.
        t, x: how far it got.
        errors: which sample is to blame: those of the last step that was tried, or summed over the last ones;
            ``None`` before the first.
    """

    def __init__(self, reason: str, t: float, x: Any, errors: Tensor | None):
        super().__init__(reason)
        self.reason, self.t, self.x, self.errors = reason, t, x, errors


class Count:
    """Evaluations of the right-hand side, at most ``limit`` of them, counted before they are spent."""

    def __init__(self, limit: int, spent: int = 0):
        self.limit, self.spent = limit, spent

    def spend(self, evaluations: int, t: float, x: Any, recent: Iterable[Tensor] = ()) -> None:
        if self.spent + evaluations > self.limit:
            # Who made most of the last steps short, whoever has the last word.
            blame = [torch.nan_to_num(errors, nan=1.0).clamp(max=1.0) for errors in recent]
            raise Stopped("too many evaluations", t, x, functools.reduce(torch.add, blame) if blame else None)
        self.spent += evaluations


@dataclass(frozen=True)
class Adaptive:
    """How an adaptive solve chooses its steps.

    Attributes:
        tol: rtol and atol, each a number or one for every part.
        norm: what makes one number of all errors.
        controller: makes a step size controller for an order.
        first: length of the first step to try; found from the field where none is given.
        least, most: lengths between which every step stays; only one cut to end somewhere is shorter.
        jumps: times at which the right-hand side jumps. A step ends just before each, and the next begins just after
            with an evaluation of its own.
    """

    tol: Tolerances
    norm: Norm = worst
    controller: Callable[[int], Integral | Proportional] = Integral
    first: float | None = None
    least: float = 0.0
    most: float = math.inf
    jumps: Sequence[float] = ()


def adaptive_steps(
    step: Step,
    x: Any,
    times: Sequence[float],
    how: Adaptive,
    count: Count,
    w: Weights = (),
    precision: torch.dtype = torch.float64,
) -> Iterator[Taken]:
    """The steps of an adaptive solve from ``times[0]`` to ``times[-1]``, one of which ends at each of ``times``.

    Args:
        precision: of the time as the right-hand side sees it: what "just before" a jump is.

    Raises:
        Stopped: when it cannot go on.
    """
    t, last = times[0], times[-1]
    if t == last:
        return
    sign = math.copysign(1.0, last - t)
    stops = _stops(times, how.jumps, sign, precision)
    adapt = how.controller(step.order)
    k1, length = _begin(step, t, x, sign, how, count, w)
    errors, recent = None, deque(maxlen=RECENT)
    for stop, after in stops:
        while t != stop:
            length = min(max(length, how.least), how.most)
            end, h = _end(t, stop, sign * length)
            if t + h == t:
                raise _underflow(t, x, errors)
            count.spend(step.evaluations, t, x, recent)
            y, k_last, errors, stages = step(t, x, k1, h, how.tol, w)
            recent.append(errors)
            error = how.norm(errors)
            if error > 1 and abs(h) <= how.least:
                raise _underflow(t, x, errors)
            proposed = abs(h) * adapt(error)
            if error > 1:
                length = proposed
                continue
            taken = Taken(t, h, end, x, k1, y, k_last, stages, length)
            # A step cut to end somewhere says little of how long the next may be.
            length = max(proposed, length) if abs(h) < length else proposed
            yield taken
            t, x, k1 = end, y, taken.k_last
            if k_last is None and (k1 is not None or t != last):
                count.spend(1, t, x, recent)
                k1 = step.start(t, x, w) if k1 is None else k1
        if after is not None:
            t = after
            count.spend(1, t, x, recent)
            k1 = step.start(t, x, w)


def fixed_steps(
    step: Step, x: Any, first: float, last: float, n: int, count: Count, w: Weights = ()
) -> Iterator[Taken]:
    """n equal steps from ``first`` to ``last``, whatever their error.

    Raises:
        Stopped: before the first, when there are more evaluations than may be spent.
    """
    count.spend(n * step.evaluations + (1 if step.fsal else n), first, x)
    t, k1 = first, None
    for i in range(1, n + 1):
        end = first + (last - first) * i / n if i < n else last
        k1 = step.start(t, x, w) if k1 is None else k1
        y, k_last, _, stages = step(t, x, k1, end - t, None, w)
        taken = Taken(t, end - t, end, x, k1, y, k_last, stages)
        yield taken
        t, x, k1 = end, y, taken.k_last
    if k_last is None and k1 is not None:
        # Beyond the last step, and so not among those counted.
        count.spend(1, t, x)


def _begin(step: Step, t: float, x: Any, sign: float, how: Adaptive, count: Count, w: Weights) -> tuple[Any, float]:
    """The first slope, and the first length to try."""
    count.spend(1, t, x)
    k1 = step.start(t, x, w)
    if how.first is not None:
        return k1, how.first
    count.spend(1, t, x)
    return k1, step.guess(t, x, k1, sign, how.tol, how.norm, w)


def _underflow(t: float, x: Any, errors: Tensor | None) -> Stopped:
    reason = "step size underflow" if errors is None or finite([errors]) else "non-finite values"
    return Stopped(reason, t, x, errors)


def _stops(
    times: Sequence[float], jumps: Sequence[float], sign: float, precision: torch.dtype
) -> list[tuple[float, float | None]]:
    """Where steps end, in order, and where the next begins if a jump lies between."""
    first, last = times[0], times[-1]
    inside = [jump for jump in jumps if sign * (jump - first) > 0 and sign * (last - jump) > 0]
    stops: dict[float, float | None] = {time: None for time in times[1:] if time != first and time not in inside}
    for jump in inside:
        at = torch.tensor(jump, dtype=precision)
        before, after = (float(torch.nextafter(at, at.new_tensor(side * sign * math.inf))) for side in (-1, 1))
        stops[before] = after
    return sorted(stops.items(), key=lambda item: sign * item[0])


def _end(t: float, stop: float, h: float) -> tuple[float, float]:
    """Where a step of length h from t ends, and its length: at ``stop`` where it would go past, or stop short of it
    by no more than rounding."""
    if abs(h) * (1 + 1e-9) >= abs(stop - t):
        return stop, stop - t
    return t + h, h
