"""One integration by torchdiffeq, watched: the reference that the tests compare the library's own engine with.

What this adds to it: the error norm of the *worst sample* instead of the batch's mean, a last step that ends at T, a
count of the evaluations, and failures that say what happened, to which sample, and when.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import cast

import torch
from torch import Tensor

from ncode.solvers.engine import failure
from ncode.solvers.errors import SolveError
from ncode.solvers.finite import finite
from ncode.solvers.norms import per_sample
from ncode.solvers.options import NFE, Solver
from ncode.solvers.problem import RightHandSide, State

NAMES = {"heun": "heun2"}
"""What torchdiffeq calls a method, where it has another name for it."""


def integrate(f: RightHandSide, state: State, times: Sequence[float], solver: Solver, nfe: NFE) -> State:
    """The parts of z at every one of ``times``, time first, by one call of torchdiffeq.

    Raises:
        SolveError: when the solve fails.
    """
    # Here, since it imports all of scipy with it: as long again as torch takes.
    from torchdiffeq import odeint

    # It is not annotated: what a checker infers from its defaults is no tuple of tolerances, and no tuple of parts.
    solve = cast(Callable[..., State], odeint)

    t = torch.tensor(times, dtype=torch.float64, device=state[0].device)
    watch = _Watch(f, state, solver, nfe)
    if solver.adaptive:
        options = {"norm": watch.norm, "step_t": t[-1:] if solver.method == "dopri5" else t[1:]}
    else:
        t = t.to(state[0].dtype)
        options = {"grid_constructor": _grid(solver), **({"interp": "cubic"} if len(t) > 2 else {})}
    method = NAMES.get(solver.method, solver.method)

    def attempt() -> State:
        try:
            return solve(watch, state, t, rtol=solver.rtol, atol=solver.atol, method=method, options=options)
        except AssertionError as error:
            if error is watch.raised:
                raise
            # torchdiffeq reports its failures as bare assertions.
            raise watch.failure(None) from error

    path = attempt()
    if not finite(path):
        # Fixed steps go on to the end with whatever they have. Again, then, up to where it went wrong.
        watch.strict, nfe.forward = True, 0
        with torch.no_grad():
            attempt()
        watch.t, watch.state = t[-1], tuple(part[-1] for part in path)
        raise watch.failure("non-finite values")
    return path


class _Watch:
    """Counts evaluations and remembers, for the error message, what the solver saw last."""

    def __init__(self, f: RightHandSide, state: State, solver: Solver, nfe: NFE):
        self.f, self.solver, self.nfe = f, solver, nfe
        self.t: Tensor | None = None
        self.state = state
        self.errors: Tensor | None = None
        self.strict = False
        self.raised: AssertionError | None = None

    def __call__(self, t: Tensor, state: State) -> State:
        if self.nfe.forward >= self.solver.max_nfe:
            raise self.failure("too many evaluations")
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
        errors = torch.stack([per_sample([part.detach()]) for part in parts])
        if self.solver.norm == "mean":
            return torch.nan_to_num(errors.square().mean(-1).sqrt().max(), nan=math.inf)
        self.errors = errors.amax(0)
        # A trial step may overshoot out of the floating-point range: that rejects the step, it is no failure yet.
        return torch.nan_to_num(self.errors.max(), nan=math.inf)

    def failure(self, reason: str | None) -> SolveError:
        if reason is None:
            worst = per_sample(self.state) if self.errors is None else self.errors
            reason = "step size underflow" if torch.isfinite(worst).all() else "non-finite values"
        t = math.nan if self.t is None else float(self.t)
        return failure(reason, t, self.state, self.nfe.forward, self.errors)


def _grid(solver: Solver):
    """Equal steps: torchdiffeq's own grid may add a sliver of a step."""

    def grid(f, state, t):
        n = solver.count(float(t[0]), float(t[-1]))
        points = torch.linspace(float(t[0]), float(t[-1]), n + 1, dtype=t.dtype, device=t.device)
        points[0], points[-1] = t[0], t[-1]
        return points

    return grid
