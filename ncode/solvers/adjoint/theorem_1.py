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
far as it can see: it looks at what f reaches once in every stretch between checkpoints, and at what f gives at t[0].
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ncode.solvers.adjoint.backward import Backward, Checkpoints, Node, ReconstructionWarning
from ncode.solvers.adjoint.graph import edge, edges, walk
from ncode.solvers.options import NFE, Solver
from ncode.solvers.problem import RightHandSide, State
from ncode.solvers.torchdiffeq import integrate

__all__ = ["ReconstructionWarning", "integrate_with_adjoint"]

MEANWHILE = (
    "what it reads was set anew meanwhile (a state of the field, or parameters, as by torch.func.functional_call), or "
    "it is random, as dropout makes it. The adjoint evaluates f again: use gradients='direct'"
)


def integrate_with_adjoint(
    f: RightHandSide,
    state: State,
    t: Tensor,
    solver: Solver,
    nfe: NFE,
    parameters: Sequence[Tensor] = (),
    costs: int = 0,
) -> State:
    """Like :func:`ncode.solvers.torchdiffeq.integrate`, with gradients by the adjoint.

    Args:
        parameters: captured tensors at which the adjoint stops (see :func:`ncode.solvers.dispatch.solve`).
        costs: how many of the last parts of the state feed back into nothing, f's velocity of them being ℓ.

    Raises:
        ValueError: when ``t`` needs a gradient: only direct gradients reach the times.
        SolveError: when a solve fails, forward or backward.
    """
    if t.requires_grad:
        raise ValueError("t: the adjoint gives no gradient with respect to times; use gradients='direct'")
    # By identity: a tensor declared twice would get its gradient twice.
    declared = list({id(p): p for p in parameters if p.requires_grad}.values())
    tensors, reached, velocity = _captured(f, state, t, declared)
    # A random ℓ is no error: its gradient has the right mean, whichever draw it is of.
    kept = velocity[: len(state) - costs]
    return _Adjoint.apply(f, t, solver, nfe, len(state), costs, reached, kept, *state, *tensors)


def _captured(
    f: RightHandSide, state: State, t: Tensor, declared: list[Tensor]
) -> tuple[list[Tensor], frozenset[int], list[Tensor]]:
    """What needs a gradient besides the state, which of it f reaches at t[0], by position, and what f gives there.

    That is what was declared, and the other leaves that f reaches, found in the graph of one evaluation. Without
    this a tensor merely captured by f would silently get no gradient. The evaluation is not counted: it belongs to
    no solve.
    """
    with torch.enable_grad():
        inputs = tuple(part.detach().requires_grad_() for part in state)
        outputs = f(t[0].to(state[0].dtype), inputs)
    # Where the walk stops: at the state's leaves and at what was declared, with or without a history of its own.
    cuts, stops, starts = edges(declared), edges(inputs), edges(outputs)
    leaves, reached = walk(starts, stops | cuts)
    histories = [behind for node, _ in cuts for behind in node.next_functions]
    upstream, passed = walk(histories, set())
    if passed & cuts or not {id(leaf) for leaf in leaves}.isdisjoint(id(leaf) for leaf in upstream):
        # Autograd does not stop at a tensor whose gradient it is asked for: what lies behind a declared tensor and is
        # reached on another way too would count twice. Leaves alone are right, if slower.
        tensors, reached = walk([*starts, *cuts], stops)
    else:
        tensors = [*declared, *leaves]
    positions = frozenset(i for i, tensor in enumerate(tensors) if edge(tensor) in reached)
    return tensors, positions, [output.detach() for output in outputs]


def _must_be_the_same(f: RightHandSide, t: Tensor, state: State, kept: Sequence[Tensor] | None) -> None:
    """Raise a ``RuntimeError`` where f gives another velocity than ``kept``, by more than a GPU rounds differently."""
    if kept is None:
        return
    with torch.no_grad():
        found = f(t.to(state[0].dtype), state)
    for a, b in zip(found, kept, strict=False):
        allowed = max(1e-3, 10 * torch.finfo(b.dtype).eps) * b.abs().amax()
        if not bool((a - b).abs().amax() <= allowed):
            raise RuntimeError(f"f no longer gives the velocity that it gave in the forward pass: {MEANWHILE}")


class _Adjoint(torch.autograd.Function):
    @staticmethod
    def forward(ctx, f, t, solver, nfe, parts, costs, reached, velocity, *tensors):
        ctx.f, ctx.solver, ctx.nfe, ctx.parts, ctx.costs, ctx.reached = f, solver, nfe, parts, costs, reached
        # Autocast has ended when the backward pass evaluates f again.
        ctx.velocity = None if torch.is_autocast_enabled(tensors[0].device.type) else velocity
        # Checkpoints lie between the output times: in float32 neighbours could not be told apart.
        t = t.double()
        kept = Checkpoints(solver.checkpoints)
        with torch.no_grad():
            path = integrate(f, tensors[:parts], t, solver, nfe, steps=kept)
        ctx.t, ctx.times, ctx.first_step = t, kept.times, kept.dt
        ctx.save_for_backward(*path, *(part for state in kept.states for part in state), *tensors[parts:])
        return path

    @staticmethod
    def backward(ctx, *gradients):
        if torch.is_grad_enabled():
            # Left to autograd, a second derivative would lack what goes through this gradient, without a sign.
            raise RuntimeError("the adjoint's gradient has no derivative (create_graph=True): use gradients='direct'")
        n, saved = ctx.parts, ctx.saved_tensors
        end = n * (1 + len(ctx.times))
        path, states, parameters = saved[:n], saved[n:end], saved[end:]
        ctx.nfe.backward = 0
        # A step may have ended at an output time, whose own state is the same.
        between = [i for i, time in enumerate(ctx.times) if not torch.isclose(ctx.t, time, rtol=1e-9, atol=0).any()]
        nodes = [Node(ctx.times[i], states[n * i : n * (i + 1)]) for i in between]
        for i in range(len(ctx.t)):
            gradient = tuple(part[i] for part in gradients)
            # An output time without a gradient is no jump of the adjoint: nothing restarts there.
            if i == 0 or any(part.any() for part in gradient):
                nodes.append(Node(ctx.t[i], tuple(part[i] for part in path), gradient))
        nodes.sort(key=lambda node: float(node.t), reverse=bool(ctx.t[-1] > ctx.t[0]))
        solver = ctx.solver.for_stretches(float(ctx.t[-1] - ctx.t[0]))
        solve = Backward(ctx.f, solver, ctx.nfe, parameters, n - ctx.costs, ctx.first_step)
        _must_be_the_same(ctx.f, ctx.t[0], tuple(part[0] for part in path), ctx.velocity)
        adjoint, quadratures = solve(nodes)
        if solve.evaluated and not ctx.reached <= solve.reached:
            raise RuntimeError(f"f no longer reaches a tensor that it reached in the forward pass: {MEANWHILE}")
        return None, None, None, None, None, None, None, None, *adjoint, *quadratures
