"""Events: where each sample's path first makes a function of (t, z) zero, with the gradient of that time.

One solve without a graph finds, for every sample, the step in which the function changes its sign, and the root in that
step's polynomial. A second solve ends every sample at its own root (see :mod:`ncode.solvers.own_times`), with whatever
gradients the solver has. Steps of Newton's then take time and state onto the zero, and are differentiable: with
e the function and de/dt its rate along the path,

    t* = t - e(t, z(t)) / (de/dt),

and z(t*) by a step of rk4. The first has the derivatives of the implicit function theorem, the second those of these.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from ncode.solvers.dispatch import checked, integrate
from ncode.solvers.engine import stepper, steps
from ncode.solvers.independent import Independent
from ncode.solvers.norms import per_sample
from ncode.solvers.options import NFE, Solver
from ncode.solvers.own_times import spread
from ncode.solvers.problem import RightHandSide, State
from ncode.solvers.step import RungeKutta, Taken, clock, leaves
from ncode.solvers.tableaus import TABLEAUS
from ncode.solvers.times import Times, read
from ncode.tracing import transforming

Event = Callable[[Tensor, State], Float[Tensor, " batch"]]
"""e(t, z): one number for every sample, zero at its event. t broadcasts as for a right-hand side."""

BISECTIONS = 60
"""Halvings of a step, to float64's last digit."""
NEWTON = 2
"""Steps onto the zero: each is right for one derivative more."""


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
    t: Times,
    event: Event,
    solver: Solver,
    parameters: Sequence[Tensor] = (),
) -> Stop:
    """Solve z' = f(t, z), z(t[0]) = ``state``, until ``event`` is zero, each sample until its own, or until t[1].

    Time and state have first and second derivatives by all that they depend on, t[0] and t[1] included.

    Args:
        f: the right-hand side.
        state: the parts of z(t[0]), each with the batch as its first dimension.
        t: where the solve begins, and where it ends for samples without an event.
        event: it counts when it changes its sign; a sample that begins on a zero has its event where it next crosses
            one. Of two zeros within one step none may be seen: ``solver.max_step`` bounds the steps.
        solver: how.
        parameters: as for :func:`ncode.solvers.dispatch.integrate`.

    Raises:
        SolveError: when a solve fails.
        ValueError: when ``event`` gives anything but one number a sample, or the first evaluation of f something else
            than parts of z's shapes and dtypes, or changes z in place.
    """
    times, wanted = read(t)
    f, nfe = checked(f, state), NFE()
    with torch.no_grad():
        locate = _locate_each if solver.independent else _locate
        ends, happened = locate(f, tuple(part.detach() for part in state), times, event, solver, nfe)
    start, last = (
        ends.new_tensor(value) if time is None else time.to(ends).reshape(())
        for value, time in ((times[0], wanted[0]), (times[-1], wanted[-1]))
    )
    ends = torch.where(happened, ends, last)
    both = torch.stack([start.expand_as(ends), ends])
    path, _ = integrate(f, state, both, solver, parameters, nfe=nfe)
    end = tuple(part[-1] for part in path)
    step = RungeKutta(TABLEAUS["rk4"], f)
    velocity = step.start(ends, end)
    with torch.no_grad():
        rate = _rate(event, ends, end, velocity)
        moving = happened & (rate != 0)
        rate = torch.where(moving, rate, 1.0)
    shift, state = torch.zeros_like(ends), end
    for _ in range(NEWTON):
        error = event(clock(ends + shift, state), state).double()
        shift = shift - torch.where(moving, error / rate, 0.0)
        state = step.end(ends, end, velocity, shift)
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
    """de/dt along the path, ∂e/∂t + ∂e/∂z f, of every sample."""
    found: Sequence[Tensor | None] = (None,)
    if not (transforming() or torch.is_inference_mode_enabled()):
        with torch.enable_grad():
            inputs = leaves((clock(t, state), *state))
            value = event(inputs[0], inputs[1:])
            if value.requires_grad:
                found = torch.autograd.grad(value.sum(), inputs, allow_unused=True)
    pairs = [(g, v) for g, v in zip(found, (torch.ones_like(t), *velocity), strict=False) if g is not None]
    if not pairs:
        return _differences(event, t, state, velocity)
    rates = [(g.reshape(len(t), -1).conj() * v.reshape(len(t), -1)).real.sum(1) for g, v in pairs]
    return torch.stack([rate.double() for rate in rates]).sum(0)


def _differences(event: Event, t: Tensor, state: State, velocity: State) -> Tensor:
    """As :func:`_rate`, for an event that autograd does not see through: central differences by t and along f.

    Each as long as the cube root of rounding allows at the size of what it changes.
    """
    small, speed = torch.finfo(state[0].dtype).eps ** (1 / 3), per_sample(velocity).double()
    still = torch.zeros_like(t)
    by_time = small * t.abs().clamp(min=1.0)
    by_state = small * per_sample(state).double().clamp(min=1.0) / torch.where(speed > 0, speed, 1.0)
    rate = still
    for later, further in ((by_time, still), (still, by_state)):
        values = [
            event(
                clock(t + side * later, state),
                tuple(part + v * clock(side * further, (part,)) for part, v in zip(state, velocity, strict=True)),
            ).double()
            for side in (-1.0, 1.0)
        ]
        rate = rate + (values[1] - values[0]) / (2 * (later + further))
    return rate


def _one_each(value: Tensor, state: State) -> Tensor:
    if not isinstance(value, Tensor) or value.shape != state[0].shape[:1]:
        shape = tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__
        raise ValueError(f"event: must give one number a sample, shape ({len(state[0])},), not {shape}")
    return value
