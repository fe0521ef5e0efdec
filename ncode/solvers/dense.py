"""Dense output: a path that is solved once and read off at any time afterwards."""

from __future__ import annotations

import bisect
from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor

from ncode.solvers.dispatch import checked
from ncode.solvers.engine import stepper, steps
from ncode.solvers.options import NFE, Solver
from ncode.solvers.problem import RightHandSide, State
from ncode.solvers.step import RungeKutta, Taken
from ncode.solvers.times import Times, begin_at, end_at, moments, read


class Path:
    """A solved path.

    Between the ends of a step it is the method's own polynomial, of order 4 for dopri5 and tsit5 and 3 for the others:
    for dopri8 that is much less exact than its steps.

    Args:
        step: what took the steps.
        taken: the steps, at least one.
        nfe: what they took.

    Attributes:
        start, end: the times between which it is known.
    """

    def __init__(self, step: RungeKutta, taken: Sequence[Taken], nfe: NFE):
        self.step, self.taken, self.nfe = step, taken, nfe
        self.start, self.end = taken[0].t, taken[-1].end
        self._sign = 1.0 if self.end > self.start else -1.0
        self._ends = [self._sign * one.end for one in taken]

    def __call__(self, t: float | Times) -> State:
        """The parts of z at the times ``t``, in any order, time first; at one number, without that dimension.

        A time that needs a gradient gets it, z' = f there, as :func:`ncode.solvers.dispatch.integrate` gives it.

        Raises:
            ValueError: when a time lies outside of the path.
        """
        one = isinstance(t, int | float) or (isinstance(t, Tensor) and t.dim() == 0)
        times, wanted = moments(cast(Times, [t] if one else t))
        path = tuple(torch.stack(parts) for parts in zip(*map(self._at, times), strict=True))
        path = end_at(self.step.f, wanted, path)
        return tuple(part[0] for part in path) if one else path

    def _at(self, time: float) -> State:
        low, high = sorted((self.start, self.end))
        if not low <= time <= high:
            raise ValueError(f"t: {time:g} lies outside of the path, which is known from {low:g} to {high:g}")
        if time == self.start:
            return self.taken[0].x
        taken = self.taken[bisect.bisect_left(self._ends, self._sign * time)]
        return taken.y if time == taken.end else self.step.between(taken, (time - taken.t) / taken.h)


def solve_path(f: RightHandSide, state: State, t: Times, solver: Solver) -> Path:
    """Solve z' = f(t, z), z(t[0]) = ``state``, up to t[1], and keep the whole path.

    Gradients are direct: through the path wherever it is read off. The time t[0] gets one, too; on t[1] the path at
    given times does not depend.

    Args:
        f: the right-hand side.
        state: the parts of z(t[0]), each with the batch as its first dimension.
        t: where the path begins and ends, two different times.
        solver: how; with direct gradients, and steps that all samples share.

    Raises:
        SolveError: when the solve fails.
        ValueError: when the times are equal, the solver has gradients of another kind or independent samples, or the
            first evaluation of f gives something else than parts of z's shapes and dtypes, or changes z in place.
    """
    times, wanted = read(t)
    if times[0] == times[-1]:
        raise ValueError("t: a path needs two different times")
    if solver.independent:
        raise ValueError("independent: a path is read off steps that its samples share; solve gives their own at times")
    if solver.gradients != "direct":
        raise ValueError(f"gradients: a path has direct ones, not {solver.gradients}")
    f = checked(f, state)
    state = begin_at(f, wanted[0], state)
    step, nfe, kept = stepper(solver, f), NFE(), []
    for taken in steps(step, state, [times[0], times[-1]], solver, nfe):
        if taken.k_last is None:
            taken.k_last = step.start(taken.end, taken.y)
        kept.append(taken)
    return Path(step, kept, nfe)
