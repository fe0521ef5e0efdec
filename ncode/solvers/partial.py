"""Partial results: where some samples cannot be solved, the others are, and each has its status."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Bool
from torch import Tensor

from ncode.solvers.dispatch import integrate
from ncode.solvers.errors import SolveError
from ncode.solvers.finite import finite
from ncode.solvers.options import NFE, Solver
from ncode.solvers.problem import RightHandSide, State
from ncode.solvers.times import Times


class Partial(NamedTuple):
    """What could be solved.

    Attributes:
        path: the parts of z at every time, time first; NaN for samples that failed.
        failures: by sample, why it failed.
        nfe: evaluations of all attempts.
    """

    path: State
    failures: dict[int, SolveError]
    nfe: NFE


def solve_partial(
    f: RightHandSide, state: State, t: Times, solver: Solver, parameters: Sequence[Tensor] = ()
) -> Partial:
    """As :func:`ncode.solvers.dispatch.integrate`, but a sample that fails does not fail the others.

    It stands still at its start, and the solve begins again without it: once more for every sample that fails. Where
    samples are solved independently none begins again. One whose start is not finite fails before the first, and stands
    where another starts. Its own gradient is zero. What fails in the backward pass of an adjoint fails the whole.

    Raises:
        SolveError: when no single sample is to blame.
    """
    active = torch.ones(state[0].shape[0], dtype=torch.bool, device=state[0].device)
    failures: dict[int, SolveError] = {}
    nfe = NFE()
    if solver.independent:
        path, _ = integrate(f, state, t, solver, parameters, nfe=nfe, failures=failures)
        active[list(failures)] = False
        return Partial(tuple(_where(active, part, torch.nan, 1) for part in path), failures, nfe)
    if not finite(state):
        active = torch.stack([torch.isfinite(part).reshape(len(part), -1).all(1) for part in state]).all(0)
        for i in (~active).nonzero().flatten().tolist():
            failures[i] = SolveError("non-finite values", i, _first(t, i), 0, torch.nan)
        # Zeros where none is finite.
        others = [part[active][:1].sum(0, keepdim=True).detach() for part in state]
        state = tuple(_where(active, part, other) for part, other in zip(state, others, strict=True))
    while True:
        spent = nfe.forward
        try:
            attempt = NFE()
            path, _ = integrate(_without(f, state, active), state, t, solver, parameters, nfe=attempt)
        except SolveError as error:
            if error.sample is None or error.sample in failures:
                raise
            failures[error.sample] = error
            active = active.clone()
            active[error.sample] = False
            nfe.forward = spent + error.nfe
            continue
        attempt.forward += spent
        return Partial(tuple(_where(active, part, torch.nan, 1) for part in path), failures, attempt)


def _first(t: Times, sample: int) -> float:
    first = torch.as_tensor(t[0]).detach()
    return float(first[sample] if first.dim() else first)


def _without(f: RightHandSide, start: State, active: Bool[Tensor, " batch"]) -> RightHandSide:
    """f, for which samples that are not active stand still."""
    if bool(active.all()):
        return f
    start = tuple(part.detach() for part in start)

    def masked(t: Tensor, z: State) -> State:
        # The state is replaced as well: 0 · NaN is NaN.
        safe = tuple(_where(active, part, first) for part, first in zip(z, start, strict=True))
        return tuple(_where(active, v, 0.0) for v in f(t, safe))

    return masked


def _where(active: Tensor, part: Tensor, other: Tensor | float, before: int = 0) -> Tensor:
    shape = (*[1] * before, -1, *[1] * (part.dim() - 1 - before))
    return torch.where(active.reshape(shape), part, other)
