"""The times of a solve: float64 whatever the state's precision, and their gradients."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import torch
from torch import Tensor

from ncode.solvers.problem import RightHandSide, State
from ncode.solvers.step import clock

Times = Tensor | Sequence[float | Tensor]
"""A vector of times, or a list of numbers and of tensors of one."""


def read(t: Times) -> tuple[list[float], list[Tensor | None]]:
    """The times, and for each the tensor that wants its gradient.

    Raises:
        ValueError: when they are no times: fewer than two, not finite, or neither increasing nor decreasing.
    """
    wanted: list[Tensor | None]
    if isinstance(t, Tensor):
        if t.dim() != 1:
            raise ValueError(f"t: must be a vector of at least two times, not of shape {tuple(t.shape)}")
        values: list[float] = t.detach().double().tolist()
        wanted = list(t.unbind()) if t.requires_grad else [None] * len(values)
    elif isinstance(t, Sequence):
        values = [float(time.detach()) if isinstance(time, Tensor) else float(time) for time in t]
        wanted = [time if isinstance(time, Tensor) and time.requires_grad else None for time in t]
    else:
        raise ValueError(f"t: must be a vector of at least two times, not {type(t).__name__}")
    if len(values) < 2:
        raise ValueError(f"t: must be a vector of at least two times, not of shape ({len(values)},)")
    if not all(map(math.isfinite, values)):
        raise ValueError("t: times must be finite")
    pairs = list(itertools.pairwise(values))
    if not (all(a <= b for a, b in pairs) or all(a >= b for a, b in pairs)):
        raise ValueError("t: times must not turn: they increase, or they decrease")
    return values, wanted


def begin_at(f: RightHandSide, time: Tensor | None, state: State) -> State:
    """``state``, which holds at ``time``: to begin later is to begin from -f less."""
    return state if time is None else _Moved.apply(f, -1.0, time, *state)


def end_at(f: RightHandSide, wanted: Sequence[Tensor | None], path: State) -> State:
    """``path``, whose state at every time has the slope f there; times may be one, or one for every sample."""
    if all(time is None for time in wanted):
        return path
    states = [tuple(part[i] for part in path) for i in range(len(wanted))]
    moved = [
        state if time is None else _Moved.apply(f, 1.0, time, *state)
        for time, state in zip(wanted, states, strict=True)
    ]
    return tuple(torch.stack(parts) for parts in zip(*moved, strict=True))


class _Moved(torch.autograd.Function):
    """A state as it is, with ∂z/∂t = ± f(t, z)."""

    @staticmethod
    def forward(ctx, f, sign, time, *state):
        ctx.f, ctx.sign = f, sign
        moved = tuple(part.clone() for part in state)
        ctx.save_for_backward(time, *moved)
        return moved

    @staticmethod
    def backward(ctx, *gradients):
        time, *state = ctx.saved_tensors
        own = time.dim() == 1 and len(time) == len(state[0])
        velocity = ctx.f(clock(time, tuple(state)) if own else time.to(state[0].dtype), tuple(state))
        slope = sum(_products(g, v, own) for g, v in zip(gradients, velocity, strict=True))
        return None, None, (ctx.sign * slope).to(time.dtype).reshape(time.shape), *gradients


def _products(a: Tensor, b: Tensor, own: bool) -> Tensor:
    """The sum of a part's products, every sample's where each has a time of its own."""
    return (a * b).reshape(len(a), -1).sum(1) if own else (a * b).sum()
