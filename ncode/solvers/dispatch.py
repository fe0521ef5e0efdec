"""The one door to solvers: every solve of the library goes through :func:`solve`."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ncode.solvers import engine, torchdiffeq
from ncode.solvers.adjoint.theorem_1 import integrate_with_adjoint
from ncode.solvers.options import NFE, Solver
from ncode.solvers.problem import RightHandSide, State
from ncode.solvers.times import Times, begin_at, end_at, read


def solve(
    f: RightHandSide,
    state: State,
    t: Times,
    solver: Solver,
    parameters: Sequence[Tensor] = (),
    costs: int = 0,
    names: Sequence[str] = (),
) -> tuple[State, NFE]:
    """Solve z' = f(t, z), z(t[0]) = ``state``.

    Args:
        f: the right-hand side.
        state: the parts of z(t[0]), each with the batch as its first dimension. Mixed states go in as parts and are
            not concatenated: the error norm takes the largest part's error, so a small part is not diluted.
        t: times, increasing or decreasing, which may be repeated; the first is where ``state`` holds. Tensors that
            need a gradient get it, in a vector or in a list.
        solver: how.
        parameters: tensors that f captures and that may need a gradient. Leaves that f reaches at t[0] are found
            without being named. Name what f reaches only later, and what has a history of its own, such as a control
            θ = γ(x(0)), so that the adjoint stops there. A tensor first reached later and not named is an error of
            the backward pass, where f reaches it at the start of a stretch between checkpoints.
        costs: how many of the last parts of the state feed back into nothing: running costs, c' = ℓ(t, z). The
            adjoint does not solve them backward.
        names: of what gives each part of z', for error messages.

    Returns:
        The parts of z at every time, time first; and the number of evaluations, whose ``backward`` is filled in
        when the adjoint has run.

    Raises:
        SolveError: when the solve fails, forward or backward.
        ValueError: on a state or times that make no sense, or when the first evaluation of f gives something else
            than parts of z's shapes and dtypes, or changes z in place.
    """
    times, wanted = read(t)
    _check(state)
    f = _checked(f, names or (["f"] if len(state) == 1 else [f"f's part {i}" for i in range(len(state))]))
    nfe = NFE()
    state = begin_at(f, wanted[0], state)
    if solver.backend == "torchdiffeq":
        path = torchdiffeq.integrate(f, state, times, solver, nfe)
    elif solver.gradients == "adjoint" and torch.is_grad_enabled():
        path = integrate_with_adjoint(f, state, times, solver, nfe, parameters, costs)
    else:
        path = engine.integrate(f, state, times, solver, nfe)
    return end_at(f, wanted, path), nfe


def _check(state: State) -> None:
    if len(state[0]) == 0:
        raise ValueError("x0: the batch is empty")
    for part in state:
        if not torch.isfinite(part).all():
            bad = int((~torch.isfinite(part.reshape(len(part), -1)).all(1)).nonzero()[0])
            raise ValueError(f"x0: sample {bad} is not finite")


def _checked(f: RightHandSide, names: Sequence[str]) -> RightHandSide:
    """f, with a look at its first evaluation.

    torchdiffeq flattens what f gives: another layout of as many numbers would be taken for the right one. And it
    reads z again after the evaluation.
    """
    seen = False

    def checked(t: Tensor, z: State) -> State:
        nonlocal seen
        if seen:
            return f(t, z)
        before = _versions(z)
        velocity = f(t, z)
        if _versions(z) != before:
            who = " or ".join(names)
            raise ValueError(f"{who}: must not change its inputs in place, as nn.ReLU(inplace=True) does")
        _check_velocity(velocity, z, names)
        seen = True
        return velocity

    return checked


def _versions(z: State) -> list[int]:
    """How often each part was changed in place; tensors of inference mode do not say."""
    return [part._version for part in z if not part.is_inference()]


def _check_velocity(velocity: State, z: State, names: Sequence[str]) -> None:
    if not isinstance(velocity, tuple | list) or len(velocity) != len(z):
        raise ValueError(f"f: must give a tuple of {len(z)} tensors, the parts of z', not {type(velocity).__name__}")
    for name, part, x in zip(names, velocity, z, strict=True):
        if not isinstance(part, Tensor):
            raise ValueError(f"{name}: must give a tensor of shape {tuple(x.shape)}, not {type(part).__name__}")
        if part.shape != x.shape:
            raise ValueError(f"{name}: must give shape {tuple(x.shape)}, not {tuple(part.shape)}")
        if part.dtype != x.dtype and not torch.is_autocast_enabled(x.device.type):
            raise ValueError(f"{name}: must give {x.dtype}, not {part.dtype}")
