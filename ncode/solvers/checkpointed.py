"""Checkpointed gradients: exactly those of the steps that were taken, in memory that grows as their square root.

The forward solve keeps the steps' lengths, and states at ever wider distances. The backward pass goes from one kept
state to the one before, and takes the steps between again, with a graph. A step is taken twice so, and its graph lives
only while its segment is on.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ncode.solvers.adjoint.graph import edges
from ncode.solvers.captured import Captured, known_at_first, must_be_alike, must_be_known
from ncode.solvers.engine import integrate
from ncode.solvers.options import NFE, Solver
from ncode.solvers.paths import Picker
from ncode.solvers.problem import RightHandSide, State
from ncode.solvers.record import Length, Record, segments
from ncode.solvers.step import RungeKutta, Taken, leaves, pull
from ncode.solvers.tableaus import TABLEAUS


def integrate_checkpointed(
    f: RightHandSide, state: State, times: Sequence[float], solver: Solver, nfe: NFE, parameters: Sequence[Tensor] = ()
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
        record: Record[State] = Record()
        ctx.spent = 0
        state = tuple(part.detach() for part in tensors[:parts])
        path = integrate(known_at_first(f, found.velocity), state, times, solver, nfe, record.look)
        ctx.lengths, ctx.starts = record.lengths, list(record.states)
        end = tuple(part[-1].clone() for part in path)
        ctx.save_for_backward(*tensors, *(part for kept in (*record.states.values(), end) for part in kept))
        return path

    @staticmethod
    def backward(ctx, *gradients):
        n, saved = ctx.parts, ctx.saved_tensors
        kept = len(saved) - n * (len(ctx.starts) + 1)
        state, w = saved[:n], saved[n:kept]
        states = [saved[i : i + n] for i in range(kept, len(saved), n)]
        f = _Counted(ctx.f)
        replay = _Replay(RungeKutta(TABLEAUS[ctx.solver.method], f), ctx.times, ctx.lengths)
        device, enabled, dtype = ctx.autocast
        with torch.autocast(device, dtype=dtype, enabled=enabled):
            if torch.is_grad_enabled():
                found = replay.at_once(state, w, gradients)
            else:
                *states, end = states
                found = replay.back(dict(zip(ctx.starts, states, strict=True)), end, w, gradients)
        # A second backward pass through the same solve counts instead of the first.
        ctx.nfe.backward += f.evaluations - ctx.spent
        ctx.spent = f.evaluations
        return None, None, None, None, None, None, *found


class _Counted:
    def __init__(self, f: RightHandSide):
        self.f, self.evaluations = f, 0

    def __call__(self, t: Tensor, z: State) -> State:
        self.evaluations += 1
        return self.f(t, z)


class _Replay:
    """Takes the steps of a record again, with a graph."""

    def __init__(self, step: RungeKutta, times: Sequence[float], lengths: Sequence[Length]):
        self.step, self.times, self.lengths = step, times, lengths

    def back(
        self, states: dict[int, State], following: State, w: Sequence[Tensor], gradients: Sequence[Tensor]
    ) -> tuple[Tensor, ...]:
        """The gradients of z(t[0]) and of ``w``, segment by segment, from those of the path.

        Args:
            following: where the last step ended.

        Raises:
            RuntimeError: where f has become another, or reaches a tensor that gets no gradient.
        """
        first = states[0]
        carried = tuple(torch.zeros_like(part) for part in first)
        grad_w, known = [torch.zeros_like(part) for part in w], edges(w)
        for start, stop in reversed(segments(list(states), len(self.lengths))):
            with torch.enable_grad():
                x = leaves(states[start])
                y, found, slope = self._take(start, stop, x)
                must_be_alike(tuple(part.detach() for part in y), following)
                keep = must_be_known(slope, x, self.lengths[start].t, known)
                outputs, weights = list(y), list(carried)
                for i, state in found:
                    outputs += state
                    weights += [part[i] for part in gradients]
                carried = pull(tuple(outputs), tuple(weights), x, tuple(w), grad_w, keep)
            following = states[start]
        for i, time in enumerate(self.times):
            if time == self.times[0]:
                carried = tuple(a + part[i] for a, part in zip(carried, gradients, strict=True))
        return *carried, *grad_w

    def at_once(self, state: State, w: Sequence[Tensor], gradients: Sequence[Tensor]) -> list[Tensor | None]:
        """The same with a graph of their own: all steps in one, as direct gradients have them."""
        # A start of its own: what is captured may come from the state as well, as γ(x(0)) does.
        state = tuple(part.view_as(part) for part in state)
        _, found, _ = self._take(0, len(self.lengths), state)
        at = dict(found)
        path = tuple(
            torch.stack(parts) for parts in zip(*(at.get(i, state) for i in range(len(self.times))), strict=True)
        )
        asked = [part for part in (*state, *w) if part.requires_grad]
        pairs = [(part, g) for part, g in zip(path, gradients, strict=True) if part.requires_grad]
        ends, weights = zip(*pairs, strict=True)
        derived = iter(torch.autograd.grad(ends, asked, weights, create_graph=True, allow_unused=True))
        return [next(derived) if part.requires_grad else None for part in (*state, *w)]

    def _take(self, start: int, stop: int, x: State) -> tuple[State, list[tuple[int, State]], State]:
        """Where the steps from ``start`` to ``stop`` end, the states at the times that lie in them, by index, and the
        first slope, which is empty where there is no step."""
        slope: State | None = None
        first: State = ()
        found = []
        for index in range(start, stop):
            t, h, end, fresh = self.lengths[index]
            if slope is None or fresh:
                slope = self.step.start(t, x)
                first = first or slope
            within = self._within(t, end)
            if index == stop - 1 and all(self.times[i] == end for i in within):
                y, k_last, stages = self.step.end(t, x, slope, h), None, None
            else:
                y, k_last, _, stages = self.step(t, x, slope, h)
            taken = Taken(t, h, end, x, slope, y, k_last, stages)
            picker = Picker(self.step, x, [t, *(self.times[i] for i in within)])
            picker.look(taken)
            found += zip(within, picker.states[1:], strict=True)
            x, slope = y, taken.k_last
        return x, found, first

    def _within(self, t: float, end: float) -> list[int]:
        low, high = min(t, end), max(t, end)
        return [i for i, time in enumerate(self.times) if low <= time <= high and time != t]
