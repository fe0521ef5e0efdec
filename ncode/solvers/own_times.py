"""Solves in which every sample has times of its own: where it begins, where it ends, and what lies between.

The k-th stretch of a sample goes from its t_k to its t_{k+1}. In the share τ that is behind, from 0 to 1, all
samples have the same times, and z' = (t_{k+1} - t_k) f(t_k + τ (t_{k+1} - t_k), z): an ordinary problem, for any method
and any kind of gradient, those of the times included. A sample whose times repeat stands still.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from ncode.solvers.options import Solver
from ncode.solvers.problem import RightHandSide, State
from ncode.solvers.step import clock
from ncode.solvers.times import Times, read, wants

SolveOne = Callable[[RightHandSide, State, Solver, Sequence[Tensor]], State]
"""A solve from τ = 0 to 1, given what its right-hand side captures besides."""


def integrate_own_times(
    f: RightHandSide, state: State, t: Float[Tensor, "time batch"], solver: Solver, solve_one: SolveOne
) -> State:
    """The parts of z at every sample's own times, time first.

    Args:
        f: the right-hand side; it gets times of shape (batch, 1, …), which broadcast against z's first part.
        t: increasing or decreasing along the first dimension, every sample for itself. Times may be repeated, as where
            samples have different numbers of them. Step lengths of ``solver`` are in the longest sample's time.
        solve_one: how a stretch is solved.

    Raises:
        ValueError: when ``t`` makes no sense, or the solver has jump times.
    """
    _check(t, state)
    if solver.jumps:
        raise ValueError(
            "jumps: not with times of every sample's own, for which a jump lies at another share each; "
            "Solver(independent=True) takes both"
        )
    t = t.to(state[0].device, torch.float64)
    whole = float((t[-1] - t[0]).detach().abs().max())
    solver = solver.for_stretches(whole or 1.0)
    states = [state]
    for start, end in itertools.pairwise(t):
        longest = float((end - start).detach().abs().max())
        if longest == 0:
            states.append(states[-1])
            continue
        captured = [time for time in (start, end) if time.requires_grad]
        path = solve_one(_stretched(f, start, end), states[-1], _in_shares(solver, longest), captured)
        states.append(tuple(part[-1] for part in path))
    return tuple(torch.stack(parts) for parts in zip(*states, strict=True))


def _stretched(f: RightHandSide, start: Tensor, end: Tensor) -> RightHandSide:
    def stretched(share: Tensor, z: State) -> State:
        length = end - start
        velocity = f(clock(start + share.double() * length, z), z)
        return tuple(v * clock(length, (v,)) for v in velocity)

    return stretched


def _in_shares(solver: Solver, longest: float) -> Solver:
    """The same with its lengths in shares of a stretch."""
    lengths = {
        name: getattr(solver, name) / longest
        for name in ("first_step", "step_size", "min_step", "max_step")
        if getattr(solver, name) is not None
    }
    return replace(solver, **lengths)


def spread(t: Times, state: State) -> tuple[Float[Tensor, "time batch"], list[Float[Tensor, " batch"] | None]]:
    """Every sample's times in float64, from those that all share or its own; and those that want a gradient.

    Raises:
        ValueError: when ``t`` makes no sense.
    """
    batch = state[0].shape[0]
    if isinstance(t, Tensor) and t.dim() == 2:
        _check(t, state)
        rows: list[Tensor | None] = [*t.unbind()] if wants(t) else [None] * len(t)
        return t.detach().to(state[0].device, torch.float64), rows
    values, wanted = read(t)
    times = torch.tensor(values, dtype=torch.float64, device=state[0].device)
    spread_out = [time if time is None else time.reshape(()).expand(batch) for time in wanted]
    return times.unsqueeze(1).expand(-1, batch), spread_out


def _check(t: Tensor, state: State) -> None:
    if t.shape[0] < 2 or t.shape[1] != state[0].shape[0]:
        raise ValueError(
            f"t: must have shape (time, {state[0].shape[0]}), at least two times for every sample, not {tuple(t.shape)}"
        )
    if not torch.isfinite(t).all():
        raise ValueError("t: times must be finite")
    gaps = t.detach().diff(dim=0)
    turning = ((gaps > 0).any(0) & (gaps < 0).any(0)).nonzero()
    if len(turning):
        raise ValueError(f"t: times must not turn: those of sample {int(turning[0])} increase and decrease")
