"""Events: where each sample's path first makes a function of (t, z) zero, with the gradient of that time.

One solve without a graph finds, for every sample, the step in which the function changes its sign, and the root in that
step's polynomial. A second solve ends every sample at its own root (see :mod:`ncode.solvers.own_times`), with whatever
gradients the solver has. One step of Newton's then takes time and state onto the zero, and is differentiable: with
e the function and de/dt its rate along the path,

    t* = t - e(t, z(t)) / (de/dt),     z* = z(t) + f (t* - t),

whose derivatives are those of the implicit function theorem.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from ncode.solvers.dispatch import integrate
from ncode.solvers.engine import stepper, steps
from ncode.solvers.independent import Independent
from ncode.solvers.options import NFE, Solver
from ncode.solvers.own_times import spread
from ncode.solvers.problem import RightHandSide, State
from ncode.solvers.step import RungeKutta, Taken, clock
from ncode.solvers.times import read

Event = Callable[[Tensor, State], Float[Tensor, " batch"]]
"""e(t, z): one number for every sample, zero at its event. t broadcasts as for a right-hand side."""

BISECTIONS = 60
"""Halvings of a step, to float64's last digit."""


class Stop(NamedTuple):
    """Where every sample's path ended.

    Attributes:
        t: (batch) in float64, its event's time, or the last time where it had none.
        state: the parts of z there.
        happened: whether it had an event.
        nfe: evaluations of both solves.
    """

    t: Float[Tensor, " batch"]
    state: State
    happened: Bool[Tensor, " batch"]
    nfe: NFE


def solve_until(
    f: RightHandSide,
    state: State,
    t: Sequence[float],
    event: Event,
    solver: Solver,
    parameters: Sequence[Tensor] = (),
) -> Stop:
    """Solve z' = f(t, z) from t[0] on until ``event`` is zero, each sample until its own, or until t[1].

    Args:
        event: it counts when it changes its sign; a sample that begins on a zero has its event where it next crosses
            one. Of two zeros within one step none may be seen: ``solver.max_step`` bounds the steps.
        parameters: as for :func:`ncode.solvers.dispatch.integrate`.

    Raises:
        SolveError: when a solve fails.
        ValueError: when ``event`` gives anything but one number a sample.
    """
    times, _ = read(t)
    nfe = NFE()
    with torch.no_grad():
        locate = _locate_each if solver.independent else _locate
        ends, happened = locate(f, tuple(part.detach() for part in state), times, event, solver, nfe)
    both = torch.stack([torch.full_like(ends, times[0]), ends])
    path, _ = integrate(f, state, both, solver, parameters, nfe=nfe)
    end = tuple(part[-1] for part in path)
    velocity = f(clock(ends, end), end)
    error = event(clock(ends, end), end).double()
    with torch.no_grad():
        rate = _rate(event, ends, end, velocity)
        moving = happened & (rate != 0)
    shift = torch.where(moving, -error / torch.where(moving, rate, 1.0), 0.0)
    state = tuple(part + v * clock(shift, (part,)) for part, v in zip(end, velocity, strict=True))
    return Stop(ends + shift, state, happened, nfe)


def _locate(
    f: RightHandSide, state: State, times: Sequence[float], event: Event, solver: Solver, nfe: NFE
) -> tuple[Tensor, Tensor]:
    """Every sample's time of its event, or the last time, and whether it had one."""
    step = stepper(solver, f)
    before = _one_each(event(clock(times[0], state), state), state)
    ends = torch.full(before.shape, times[-1], dtype=torch.float64, device=before.device)
    happened = torch.zeros_like(before, dtype=torch.bool)
    for taken in steps(step, state, times, solver, nfe):
        after = event(clock(taken.end, taken.y), taken.y)
        crossed = ~happened & (before.sign() * after.sign() <= 0) & (before != 0)
        if crossed.any():
            root = taken.t + taken.h * _share(step, taken, event, before)
            ends, happened = torch.where(crossed, root, ends), happened | crossed
        if happened.all():
            break
        before = after
    return ends, happened


def _locate_each(
    f: RightHandSide, state: State, times: Sequence[float], event: Event, solver: Solver, nfe: NFE
) -> tuple[Tensor, Tensor]:
    """As :func:`_locate`, in steps of every sample's own."""
    own, _ = spread(times, state)
    before = _one_each(event(clock(own[0], state), state), state)
    ends, happened = own[-1].clone(), torch.zeros_like(before, dtype=torch.bool)
    rounds = Independent(own, solver, nfe).rounds(f, state)
    for one in rounds:
        taken = one.taken
        after = event(clock(taken.end, taken.y), taken.y)
        crossed = one.accepted & (before.sign() * after.sign() <= 0) & (before != 0)
        if crossed.any():
            root = taken.t + taken.h * _share(one.step, taken, event, before)
            ends, happened = torch.where(crossed, root, ends), happened | crossed
            rounds.samples.retire(crossed)
        before = torch.where(one.accepted, after, before)
    return ends, happened


def _share(step: RungeKutta, taken: Taken, event: Event, before: Tensor) -> Tensor:
    """How far into the step, from 0 to 1, every sample that changes its sign in it does, by bisection."""
    if taken.k_last is None:
        taken.k_last = step.start(taken.end, taken.y)
    low = torch.zeros(before.shape, dtype=torch.float64, device=before.device)
    high = torch.ones_like(low)
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        state = step.between(taken, middle)
        same = event(clock(taken.t + taken.h * middle, state), state).sign() == before.sign()
        low, high = torch.where(same, middle, low), torch.where(same, high, middle)
    return high


def _rate(event: Event, t: Tensor, state: State, velocity: State) -> Tensor:
    """de/dt along the path, by central differences along (1, f): no event needs derivatives of its own."""
    size = torch.finfo(state[0].dtype).eps ** (1 / 3)
    values = [
        event(
            clock(t + side * size, state),
            tuple(part + side * size * v for part, v in zip(state, velocity, strict=True)),
        ).double()
        for side in (-1.0, 1.0)
    ]
    return (values[1] - values[0]) / (2 * size)


def _one_each(value: Tensor, state: State) -> Tensor:
    if not isinstance(value, Tensor) or value.shape != state[0].shape[:1]:
        shape = tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__
        raise ValueError(f"event: must give one number a sample, shape ({len(state[0])},), not {shape}")
    return value
