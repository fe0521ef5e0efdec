"""Theorem 1: gradients by the adjoint, a second solve, backward in time, instead of backpropagation through the solver.

For z' = f(t, z; μ) and a cost l = ∫ℓ(t, z; μ)dt + φ(z(T)), the adjoint a = ∂l/∂z obeys (Eq. 6)

    a' = -a ∂f/∂z - ∂ℓ/∂z,  a(T) = ∂φ/∂z,     dl/dμ = ∫ a ∂f/∂μ dt + ∫ ∂ℓ/∂μ dt + a(0) ∂z(0)/∂μ.

The paper's proof leaves out the last two terms, the direct one and that of the boundary (Remark 1); here all three
are computed. A running cost comes in as a part of the state that feeds back into nothing, c' = ℓ: its adjoint is
constant, so it needs no state of its own backward. :func:`~ncode.costs.path_cost` is what a user calls; any other
loss on ``Solver(gradients="adjoint")`` takes the same way.

Memory grows neither with T nor with the number of steps: z is solved backward along with a, from one of a fixed
number of checkpoints to the one before, and what comes out is compared with it (see
:mod:`ncode.solvers.adjoint.backward`). Every tensor that f captures gets its gradient, declared or not; where that
cannot be, since f reaches it only later than at t[0] or is no longer the same, the backward pass raises an error, as
far as it can see: it looks at what f reaches once in every stretch between checkpoints, and at what f gives where the
backward solve begins, or at t[0] where the forward solve has no slope there.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ncode.solvers.adjoint.backward import Backward, Checkpoints, Node, ReconstructionWarning
from ncode.solvers.captured import MEANWHILE, Captured, alike, known_at_first, must_be_alike
from ncode.solvers.engine import integrate
from ncode.solvers.options import NFE, Solver
from ncode.solvers.problem import RightHandSide, State
from ncode.solvers.step import clock

__all__ = ["ReconstructionWarning", "integrate_with_adjoint"]


def integrate_with_adjoint(
    f: RightHandSide,
    state: State,
    times: Sequence[float],
    solver: Solver,
    nfe: NFE,
    parameters: Sequence[Tensor] = (),
    costs: int = 0,
) -> State:
    """Like :func:`ncode.solvers.engine.integrate`, with gradients by the adjoint.

    Args:
        parameters: captured tensors at which the adjoint stops (see :func:`ncode.solvers.dispatch.solve`).
        costs: how many of the last parts of the state feed back into nothing, f's velocity of them being ℓ.

    Raises:
        SolveError: when a solve fails, forward or backward.
    """
    found = Captured(f, state, times[0], parameters)
    return _Adjoint.apply(f, times, solver, nfe, len(state), costs, found, *state, *found.tensors)


class _Adjoint(torch.autograd.Function):
    @staticmethod
    def forward(ctx, f, times, solver, nfe, parts, costs, found, *tensors):
        ctx.f, ctx.times, ctx.solver, ctx.nfe, ctx.parts, ctx.costs = f, times, solver, nfe, parts, costs
        ctx.reached, ctx.spent = found.reached, 0
        # A random ℓ is no error: its gradient has the right mean, whichever draw it is of. And autocast has ended
        # when the backward pass evaluates f again.
        autocast = torch.is_autocast_enabled(tensors[0].device.type)
        ctx.velocity = None if autocast else found.velocity[: parts - costs]
        kept = Checkpoints(solver.checkpoints)
        state = tuple(part.detach() for part in tensors[:parts])
        path = integrate(known_at_first(f, found.velocity), state, times, solver, nfe, kept.look)
        # What the caller gets may be changed in place.
        own = [part.clone() for part in path]
        ctx.kept, ctx.first_step = kept.times, kept.dt
        ctx.slope = None if kept.slope is None else kept.slope[: parts - costs]
        ctx.save_for_backward(*own, *(part for state in kept.states for part in state), *tensors[parts:])
        return path

    @staticmethod
    def backward(ctx, *gradients):
        if torch.is_grad_enabled():
            # Left to autograd, a second derivative would lack what goes through this gradient, without a sign.
            raise RuntimeError(
                "the adjoint's gradient has no derivative (create_graph=True): use gradients='direct' or 'checkpointed'"
            )
        n, saved, times = ctx.parts, ctx.saved_tensors, ctx.times
        end = n * (1 + len(ctx.kept))
        path, states, parameters = saved[:n], saved[n:end], saved[end:]
        # A second backward pass through the same solve counts instead of the first.
        before = ctx.nfe.backward = ctx.nfe.backward - ctx.spent
        nodes = _nodes(times, path, gradients)
        # A step may have ended at an output time, whose own state is the same.
        nodes += [Node(time, states[n * i : n * (i + 1)]) for i, time in enumerate(ctx.kept) if time not in times]
        nodes.sort(key=lambda node: node.t, reverse=times[-1] > times[0])
        solver = ctx.solver.for_stretches(times[-1] - times[0])
        start = tuple(part[0] for part in path)

        def at_first() -> None:
            must_be_alike(ctx.f(clock(times[0], start), start), ctx.velocity)

        def at_last(velocity: State) -> None:
            # Where a velocity is nearly zero, rounding is no small part of it: the first has the last word.
            if not alike(velocity, ctx.slope):
                at_first()

        begins_at_last = ctx.slope is not None and nodes[0].t == times[-1] != times[0]
        if ctx.velocity is not None and not begins_at_last:
            at_first()
        look = at_last if ctx.velocity is not None and begins_at_last else None
        solve = Backward(ctx.f, solver, ctx.nfe, parameters, n - ctx.costs, ctx.first_step, look)
        adjoint, quadratures = solve(nodes)
        ctx.spent = ctx.nfe.backward - before
        if solve.evaluated and not ctx.reached <= solve.reached:
            raise RuntimeError(f"f no longer reaches a tensor that it reached in the forward pass: {MEANWHILE}")
        return None, None, None, None, None, None, None, *adjoint, *quadratures


def _nodes(times: Sequence[float], path: Sequence[Tensor], gradients: Sequence[Tensor]) -> list[Node]:
    """The first time, and those with a gradient: where there is none, the adjoint does not jump."""
    at: dict[float, tuple[State, State]] = {}
    for i, time in enumerate(times):
        gradient = tuple(part[i] for part in gradients)
        if time in at:
            # Repeated: one state, both gradients.
            gradient = tuple(a + b for a, b in zip(gradient, at[time][1], strict=True))
        if time == times[0] or any(part.any() for part in gradient):
            at[time] = tuple(part[i] for part in path), gradient
    return [Node(time, state, gradient) for time, (state, gradient) in at.items()]
