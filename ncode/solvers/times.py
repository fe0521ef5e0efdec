"""The times of a solve: float64 whatever the state's precision, and their gradients."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import torch
from torch import Tensor

from ncode.solvers.problem import RightHandSide, State
from ncode.solvers.step import RungeKutta
from ncode.solvers.tableaus import TABLEAUS
from ncode.tracing import transformed

Times = Tensor | Sequence[float | Tensor]
"""A vector of times, or a list of numbers and of tensors of one."""


def read(t: Times) -> tuple[list[float], list[Tensor | None]]:
    """The times of a solve, as :func:`moments` has them.

    Raises:
        ValueError: when they are no times: fewer than two, not finite, or neither increasing nor decreasing.
    """
    values, wanted = moments(t)
    if len(values) < 2:
        raise ValueError(f"t: must be a vector of at least two times, not of shape ({len(values)},)")
    if not all(map(math.isfinite, values)):
        raise ValueError("t: times must be finite")
    pairs = list(itertools.pairwise(values))
    if not (all(a <= b for a, b in pairs) or all(a >= b for a, b in pairs)):
        raise ValueError("t: times must not turn: they increase, or they decrease")
    return values, wanted


def moments(t: Times) -> tuple[list[float], list[Tensor | None]]:
    """Any times, and for each the tensor by which a derivative is asked for.

    Raises:
        ValueError: when they are neither a vector nor a sequence.
    """
    if isinstance(t, Tensor):
        if t.dim() != 1:
            raise ValueError(f"t: must be a vector of at least two times, not of shape {tuple(t.shape)}")
        values: list[float] = t.detach().double().tolist()
        return values, list(t.unbind()) if wants(t) else [None] * len(values)
    if isinstance(t, Sequence):
        values = [float(time.detach()) if isinstance(time, Tensor) else float(time) for time in t]
        return values, [time if isinstance(time, Tensor) and wants(time) else None for time in t]
    raise ValueError(f"t: must be a vector of at least two times, not {type(t).__name__}")


def wants(time: Tensor) -> bool:
    """Whether a derivative by ``time`` is asked for, backward or forward."""
    return (time.requires_grad and torch.is_grad_enabled()) or transformed(time)


def begin_at(f: RightHandSide, time: Tensor | None, state: State) -> State:
    """``state``, which holds at ``time``, where the solve begins."""
    return state if time is None else _no_step(f, time, time.detach(), state)


def end_at(f: RightHandSide, wanted: Sequence[Tensor | None], path: State) -> State:
    """``path``, whose states hold at the times ``wanted``; these may be one each, or one for every sample."""
    if all(time is None for time in wanted):
        return path
    states = [tuple(part[i] for part in path) for i in range(len(wanted))]
    moved = [
        state if time is None else _no_step(f, time.detach(), time, state)
        for time, state in zip(wanted, states, strict=True)
    ]
    return tuple(torch.stack(parts) for parts in zip(*moved, strict=True))


def _no_step(f: RightHandSide, t: Tensor, end: Tensor, state: State) -> State:
    """A step from ``t`` to ``end``, which are the same time but for one's derivatives.

    The state stays as it is, and gets the slope f there. Of order 4, the step is right for derivatives of derivatives
    as well, those by the state and by what f captures included, whatever takes them.
    """
    own = t.dim() == 1 and len(t) == len(state[0])
    t, end = (time.to(state[0].device, torch.float64).reshape(-1 if own else ()) for time in (t, end))
    step = RungeKutta(TABLEAUS["rk4"], f)
    return step.end(t, state, step.start(t, state), end - t)
