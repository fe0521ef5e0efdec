"""One integration by torchdiffeq, watched.

What this adds to it: the error norm of the *worst sample* instead of the batch's mean, a last step that ends at T, a
count of the evaluations, and failures that say what happened, to which sample, and when.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor
from torchdiffeq import odeint

from ncode.solvers.errors import SolveError
from ncode.solvers.options import NFE, Solver
from ncode.solvers.problem import RightHandSide, State


def integrate(
    f: RightHandSide,
    state: State,
    t: Float[Tensor, " time"],
    solver: Solver,
    nfe: NFE,
    backward: bool = False,
    steps: Steps | None = None,
    first_step: float | None = None,
    limit: int | None = None,
) -> State:
    """One call of torchdiffeq, watched: evaluations are counted into ``nfe`` and failures become `SolveError`.

    Args:
        backward: count into ``nfe.backward`` instead of ``nfe.forward``, and hold ``max_nfe`` against its sum.
        steps: told of every step.
        first_step: length of the first adaptive step to try; found from the field where none is given.
        limit: evaluations, counted with those before, where ``max_nfe`` is too many.
    """
    watch = _Watch(f, state, solver, nfe, backward, steps, min(limit or solver.max_nfe, solver.max_nfe))
    if solver.adaptive:
        options = {"norm": watch.norm, "step_t": _steps_onto(t, solver), "first_step": first_step}
    else:
        options = {"grid_constructor": _grid(solver), **({"interp": "cubic"} if len(t) > 2 else {})}

    def attempt() -> State:
        try:
            return odeint(watch, state, t, rtol=solver.rtol, atol=solver.atol, method=solver.method, options=options)
        except AssertionError as error:
            if error is watch.raised:
                raise
            # torchdiffeq reports its failures as bare assertions.
            raise watch.failure(None) from error

    counted = nfe.forward, nfe.backward
    path = attempt()
    watch.close()
    if not finite(path):
        # Fixed steps go on to the end with whatever they have. Again, then, up to where it went wrong.
        watch.strict, watch.calls = True, watch.before
        nfe.forward, nfe.backward = counted
        with torch.no_grad():
            attempt()
        watch.t, watch.state = t[-1], tuple(part[-1] for part in path)
        raise watch.failure("non-finite values")
    return path


@runtime_checkable
class Steps(Protocol):
    """What may look on while a solve takes its steps."""

    def begin(self, dt: Tensor) -> None:
        """A step of length ``dt`` > 0 is proposed; its stages follow."""

    def accept(self, t: Tensor, state: State, dt: Tensor) -> None:
        """The step that began last is taken: from ``state`` at ``t``, of length ``dt``, at most what was proposed."""


class _Watch:
    """Counts evaluations and remembers, for the error message, what the solver saw last."""

    def __init__(self, f, state: State, solver: Solver, nfe: NFE, backward: bool, steps: Steps | None, limit: int):
        self.f, self.solver, self.nfe, self.backward, self.steps = f, solver, nfe, backward, steps
        self.limit = limit
        self.t: Tensor | None = None
        self.state = state
        self.errors: Tensor | None = None
        self.calls = self.before = nfe.backward if backward else 0
        self.strict = False
        self.raised: AssertionError | None = None
        self._open: tuple | None = None
        if steps is not None:
            # torchdiffeq looks these up by name, and warns where a method knows no rejection.
            self.callback_step = self._begin
            if solver.adaptive:
                self.callback_accept_step = steps.accept

    def _begin(self, t: Tensor, state: State, dt: Tensor) -> None:
        self.close()
        self.steps.begin(dt)
        if not self.solver.adaptive:
            self._open = (t, state, dt)

    def close(self) -> None:
        """A fixed step is taken when the next begins, or the solve ends."""
        if self._open is not None:
            self.steps.accept(*self._open)
            self._open = None

    def __call__(self, t: Tensor, state: State) -> State:
        self.calls += 1
        if self.calls > self.limit:
            raise self.failure("too many evaluations")
        if self.backward:
            self.nfe.backward += 1
        else:
            self.nfe.forward += 1
        self.t, self.state = t, state
        if self.strict and not finite(state):
            raise self.failure("non-finite values")
        try:
            return self.f(t, state)
        except AssertionError as error:
            # The field's own, and no report of torchdiffeq's.
            self.raised = error
            raise

    def norm(self, parts: State) -> Tensor:
        """The error norm that the step size control uses; also applied by torchdiffeq to states and velocities.

        Detached: the step size is no part of the model, and its history would only slow the gradient down.
        """
        parts = [part.detach() for part in parts]
        if self.solver.norm == "mean":
            norm = torch.stack([part.square().mean().sqrt() for part in parts]).max()
        else:
            self.errors = per_sample(parts)
            norm = self.errors.max()
        # A trial step may overshoot out of the floating-point range: that rejects the step, it is no failure yet.
        return torch.nan_to_num(norm, nan=math.inf)

    def failure(self, reason: str | None) -> SolveError:
        sizes = per_sample([part.detach() for part in self.state])
        worst = sizes if self.errors is None else self.errors
        if reason is None:
            reason = "step size underflow" if torch.isfinite(worst).all() else "non-finite values"
        sample = int(torch.nan_to_num(worst, nan=math.inf).argmax())
        t = math.nan if self.t is None else float(self.t)
        return SolveError(reason, sample, t, self.calls, float(sizes[sample]))


def finite(parts: Sequence[Tensor]) -> bool:
    return all(bool(torch.isfinite(part).all()) for part in parts)


def per_sample(parts: Sequence[Tensor]) -> Float[Tensor, " batch"]:
    """Every sample's RMS, the largest over the parts."""
    norms = [part.reshape(len(part), -1).square().mean(1).sqrt() for part in parts]
    return norms[0] if len(norms) == 1 else torch.stack(norms).amax(0)


def _steps_onto(t: Tensor, solver: Solver) -> Tensor:
    """The times at which a step must end.

    Left alone, torchdiffeq steps past T and interpolates back by a polynomial of degree four, whose error nothing
    controls: up to a million times the steps' own. Ending the last step at T costs nothing. Between, dopri5's
    interpolation is about as good as its steps, and saves steps; the other methods' is far worse than theirs.
    """
    return (t[-1:] if solver.method == "dopri5" else t[1:]).detach()


def _grid(solver: Solver):
    """Equal steps: torchdiffeq's own grid may add a sliver of a step."""

    def grid(f, state, t):
        first, last = float(t[0]), float(t[-1])
        count = solver.count(first, last, torch.finfo(state[0].dtype).eps)
        points = torch.linspace(first, last, count + 1, dtype=t.dtype, device=t.device)
        points[0], points[-1] = t[0], t[-1]
        return points

    return grid
