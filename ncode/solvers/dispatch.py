"""The one door to solvers: :func:`integrate` for all of the library, :func:`solve` for its users."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn

from ncode.fields.kernels import Kernel
from ncode.solvers import bound, engine, torchdiffeq
from ncode.solvers.adjoint.theorem_1 import integrate_with_adjoint
from ncode.solvers.checkpointed import integrate_checkpointed
from ncode.solvers.errors import SolveError
from ncode.solvers.finite import finite, first_bad
from ncode.solvers.independent import integrate_independent
from ncode.solvers.options import NFE, Solver
from ncode.solvers.own_times import integrate_own_times, spread
from ncode.solvers.problem import RightHandSide, State
from ncode.solvers.rounds import Only
from ncode.solvers.step import real
from ncode.solvers.times import Times, begin_at, end_at, read
from ncode.tracing import capturing, readable


def integrate(
    f: RightHandSide,
    state: State,
    t: Times,
    solver: Solver,
    parameters: Sequence[Tensor] = (),
    costs: int = 0,
    names: Sequence[str] = (),
    nfe: NFE | None = None,
    kernel: Kernel | None = None,
    only: Only | None = None,
    failures: dict[int, SolveError] | None = None,
) -> tuple[State, NFE]:
    """Solve z' = f(t, z), z(t[0]) = ``state``, a finite one: whoever calls has looked.

    Args:
        f: the right-hand side.
        state: the parts of z(t[0]), each with the batch as its first dimension. Mixed states go in as parts and are
            not concatenated: the error norm takes the largest part's error, so a small part is not diluted.
        t: times, increasing or decreasing, which may be repeated; the first is where ``state`` holds. Tensors that
            need a gradient get it, in a vector or in a list, backward or forward, for four evaluations of f each, which
            are not counted. A matrix (time, batch) gives every sample times of its own (see
            :mod:`ncode.solvers.own_times`).
        solver: how.
        parameters: tensors that f captures and that may need a gradient. Leaves that f reaches at t[0] are found
            without being named. Name what f reaches only later, and what has a history of its own, such as a control
            θ = γ(x(0)), so that the adjoint stops there. A tensor first reached later and not named is an error of
            the backward pass, where f reaches it at the start of a stretch between checkpoints.
        costs: how many of the last parts of the state feed back into nothing: running costs, c' = ℓ(t, z). The
            adjoint does not solve them backward.
        names: of what gives each part of z', for error messages.
        nfe: counts the evaluations; a new count where none is given. The limit counts what it has counted before, as
            solves that are parts of one share it.
        kernel: f, faster, with a vector-Jacobian product of its own; what it reads that needs a gradient are its
            weights. Used where the solver allows it.
        only: f for some samples alone, given their indices: what an independent solve evaluates once others have
            arrived.
        failures: of an independent solve: is given those of the samples that fail, and the others are solved.

    Returns:
        The parts of z at every time, time first; and the number of evaluations, whose ``backward`` is filled in
        when the adjoint has run.

    Raises:
        SolveError: when the solve fails, forward or backward.
        ValueError: on a state or times that make no sense, or when the first evaluation of f gives something else
            than parts of z's shapes and dtypes, or changes z in place.
    """
    if any(part.device.type == "mps" for part in state):
        raise ValueError(
            "x0: is on an MPS device, which has no float64, and that is what times and step lengths are kept in: move "
            "the model and x0 to the CPU or a CUDA device, as with .to('cpu')"
        )
    if isinstance(t, Tensor) and t.dim() == 2 and not solver.independent:
        nfe = NFE() if nfe is None else nfe

        def one(stretched: RightHandSide, start: State, how: Solver, captured: Sequence[Tensor]) -> State:
            return integrate(stretched, start, [0.0, 1.0], how, [*parameters, *captured], costs, names, nfe=nfe)[0]

        return integrate_own_times(f, state, t, solver, one), nfe
    if not readable() and (solver.adaptive or solver.gradients != "direct"):
        must_not_be_recorded()
        return _uncompiled()(f, state, t, solver, parameters, costs, names, nfe, kernel, only, failures)
    times, wanted = spread(t, state) if solver.independent else read(t)
    _check(state)
    f = checked(f, state, names)
    nfe = NFE() if nfe is None else nfe
    state = begin_at(f, wanted[0], state)
    if isinstance(times, Tensor):
        path = integrate_independent(f, state, times, solver, nfe, parameters, only, failures)
    elif kernel is not None and bound.can(solver, times):
        path = bound.integrate(kernel, state, times, solver, nfe)
    elif solver.backend == "torchdiffeq":
        path = torchdiffeq.integrate(f, state, times, solver, nfe)
    elif solver.gradients == "adjoint" and torch.is_grad_enabled():
        path = integrate_with_adjoint(f, state, times, solver, nfe, parameters, costs)
    elif solver.gradients == "checkpointed" and torch.is_grad_enabled():
        path = integrate_checkpointed(f, state, times, solver, nfe, parameters)
    else:
        path = engine.integrate(f, state, times, solver, nfe)
    return end_at(f, wanted, path), nfe


# A compiler would make a graph of every evaluation between two decisions about steps: what it runs goes on as it is.
@cache
def _uncompiled() -> Callable:
    # Asked for at import, it would bring all of the compiler in.
    return torch.compiler.disable(integrate)


def must_not_be_recorded() -> None:
    """Raise where only fixed steps could be recorded."""
    for how, recorded in (("exported", torch.compiler.is_exporting()), ("captured in a CUDA graph", capturing())):
        if recorded:
            raise ValueError(f"solver: only fixed steps with direct gradients can be {how}, adaptive ones need numbers")


def solve(
    f: Callable[[Tensor, Any], Any],
    x0: Tensor | State,
    t: Times,
    *,
    solver: Solver | None = None,
    parameters: Sequence[Tensor] = (),
    nfe: NFE | None = None,
) -> Any:
    """The solution of x' = f(t, x), x(t[0]) = ``x0``, at every time of ``t``, time first.

    Args:
        f: the right-hand side, a function or a module. For a tensor it gives a tensor, for a tuple a tuple.
        x0: the state at t[0]: a tensor with the batch as its first dimension, or a tuple of such parts. The error norm
            takes the largest part's error, so a small part is not diluted, as it would be if all were concatenated.
        t: times, increasing or decreasing; a tensor that needs a gradient, backward or forward, gets it.
        solver: how; dopri5 at 1e-3 where none is given.
        parameters: tensors with a history that f captures, and what f reaches only later than at t[0]: what the adjoint
            has to be told (see :func:`integrate`). Leaves that f reaches at t[0] are found, as are a module's
            parameters.
        nfe: counts the evaluations, where they are wanted: those of several solves add up, backward passes included.
            The limit ``max_nfe`` is each solve's own.

    Returns:
        x at every time: a tensor where ``x0`` is one, otherwise a tuple of the parts.

    Raises:
        SolveError: when the solve fails, forward or backward.
        ValueError: on a state or times that make no sense, a state of integers or on an MPS device, or when f gives
            something else than x' of x's shape and dtype, or changes x in place.

    Example:
        >>> solve(lambda t, x: -x, torch.ones(3, 2), [0.0, 1.0])[-1]  # e^-1
    """
    bare = isinstance(x0, Tensor)
    state = (x0,) if bare else tuple(x0) if isinstance(x0, tuple | list) else ()
    if not state or not all(isinstance(part, Tensor) and part.dim() for part in state):
        raise ValueError("x0: must be a tensor with the batch as its first dimension, or a tuple of such")
    if bad := not_finite(state):
        raise ValueError(f"x0: sample {bad[1]} is not finite")
    known = [*parameters, *(f.parameters() if isinstance(f, nn.Module) else ())]
    parts = (lambda t, z: (f(t, z[0]),)) if bare else f
    path, _ = integrate(parts, state, t, solver or Solver(), known, nfe=None if nfe is None else _Share(nfe))
    return path[0] if bare else path


class _Share(NFE):
    """The count of one solve. What it counts, in a backward pass much later as well, is added to a caller's count."""

    def __init__(self, whole: NFE):
        self.whole = whole
        super().__init__()

    def __setattr__(self, name: str, value) -> None:
        if name in ("forward", "backward"):
            setattr(self.whole, name, getattr(self.whole, name) + value - getattr(self, name))
        elif name == "samples" and value is not None:
            self.whole.samples = value
        super().__setattr__(name, value)


def not_finite(state: State) -> tuple[int, int] | None:
    """The first part and its first sample that are not finite; reads the device once where all are."""
    if finite(state):
        return None
    bad = next(i for i, part in enumerate(state) if not finite([part]))
    return bad, first_bad(state[bad])


def _check(state: State) -> None:
    if state[0].shape[0] == 0:
        raise ValueError("x0: the batch is empty")
    for part in state:
        real(part.dtype)


def checked(f: RightHandSide, state: State, names: Sequence[str] = ()) -> RightHandSide:
    """f, with a look at its first evaluation.

    What f gives may broadcast against z, and torchdiffeq flattens it: another layout would be taken for the right one.
    And z is read again after the evaluation. Under autocast f may give another type than z's, in which nothing is
    summed up.

    Args:
        state: the parts of z.
        names: of what gives each part of z', for error messages.
    """
    names = names or (["f"] if len(state) == 1 else [f"f's part {i}" for i in range(len(state))])
    seen = rounds = False

    def looked_at(t: Tensor, z: State) -> State:
        nonlocal seen, rounds
        if seen:
            return _like(f(t, z), z) if rounds else f(t, z)
        before = _versions(z)
        velocity = f(t, z)
        if _versions(z) != before:
            who = " or ".join(names)
            raise ValueError(f"{who}: must not change its inputs in place, as nn.ReLU(inplace=True) does")
        _check_velocity(velocity, z, names)
        seen, rounds = True, any(part.dtype != x.dtype for part, x in zip(velocity, z, strict=True))
        return _like(velocity, z) if rounds else velocity

    return looked_at


def _like(velocity: State, z: State) -> State:
    return tuple(part.to(x.dtype) for part, x in zip(velocity, z, strict=True))


def _versions(z: State) -> list[int]:
    """How often each part was changed in place; tensors of inference mode do not say, nor those of a compiler."""
    return [] if not readable() else [part._version for part in z if not part.is_inference()]


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
