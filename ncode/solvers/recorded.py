"""Gradients from a solve's record: one autograd function a solve, whose backward pass takes the steps again.

The gradient is exactly that of the steps that were taken. What is kept of them decides memory and time: all stages
(fastest, for steps with a vector-Jacobian product of their own), or states at ever wider distances, between which the
steps are taken again (*checkpointed*).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ncode.solvers.captured import Captured, known_at_first
from ncode.solvers.engine import integrate
from ncode.solvers.options import NFE, Solver
from ncode.solvers.problem import RightHandSide, State
from ncode.solvers.record import Record
from ncode.solvers.step import RungeKutta
from ncode.solvers.tableaus import TABLEAUS


def integrate_checkpointed(
    f: RightHandSide,
    state: State,
    times: Sequence[float],
    solver: Solver,
    nfe: NFE,
    parameters: Sequence[Tensor] = (),
) -> State:
    """Like :func:`ncode.solvers.engine.integrate`, with the same gradients in less memory.

    Args:
        parameters: captured tensors at which the gradient stops (see :func:`ncode.solvers.dispatch.solve`).
    """
    found = Captured(f, state, times[0], parameters)
    return _Checkpointed.apply(f, times, solver, nfe, len(state), found, *state, *found.tensors)


class _Checkpointed(torch.autograd.Function):
    @staticmethod
    def forward(ctx, f, times, solver, nfe, parts, found, *tensors):
        ctx.f, ctx.times, ctx.solver, ctx.nfe, ctx.parts = f, times, solver, nfe, parts
        device = tensors[0].device.type
        ctx.autocast = device, torch.is_autocast_enabled(device), torch.get_autocast_dtype(device)
        record = Record()
        state = tuple(part.detach() for part in tensors[:parts])
        path = integrate(known_at_first(f, found.velocity), state, times, solver, nfe, record.look)
        ctx.lengths, ctx.starts = record.lengths, record.starts()
        ctx.save_for_backward(*tensors, *record.tensors())
        return path

    @staticmethod
    def backward(ctx, *gradients):
        n, saved, again = ctx.parts, ctx.saved_tensors, torch.is_grad_enabled()
        kept = len(ctx.starts) * n
        known, states = saved[: len(saved) - kept], saved[len(saved) - kept :]
        device, enabled, dtype = ctx.autocast
        replay = Replay(RungeKutta(TABLEAUS[ctx.solver.method], ctx.f), ctx.times, ctx.lengths)
        with torch.autocast(device, dtype=dtype, enabled=enabled):
            if again:
                # The gradient's own derivative is wanted: all steps in one graph, then.
                found = replay.whole(known[:n], known, gradients)
            else:
                starts = {start: states[n * i : n * (i + 1)] for i, start in enumerate(ctx.starts)}
                found = replay.sweep(starts, known[:n], known[n:], gradients)
        ctx.nfe.backward = replay.evaluations
        return None, None, None, None, None, None, *found
