"""Checkpointed gradients: exactly those of the steps that were taken, in memory that grows as their square root.

The forward solve keeps the steps' lengths, and states at ever wider distances. The backward pass goes from one kept
state to the one before, and takes the steps between again, with a graph. A step is taken twice so, and its graph lives
only while its segment is on.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

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


@runtime_checkable
class Again(Protocol):
    """How the steps of a solve are taken again."""

    def back(
        self, states: Sequence[State], state: State, w: Sequence[Tensor], gradients: Sequence[Tensor]
    ) -> tuple[Tensor, ...]:
        """The gradients of z(t[0]), ``state``, and of ``w`` from those of the path, from kept ``states``."""
        ...

    def whole(self, state: State) -> State:
        """The path, with one graph of all steps."""
        ...


@runtime_checkable
class Plan(Protocol):
    """How a solve is made, and made again."""

    def forward(self, f: RightHandSide, state: State, velocity: State) -> tuple[State, list[State]]:
        """The path, and the states that are kept; ``velocity`` is what f gives first."""
        ...

    def again(self, f: RightHandSide, nfe: NFE) -> Again:
        """The same steps; ``nfe`` counts their evaluations."""
        ...


def integrate_checkpointed(
    f: RightHandSide, state: State, times: Sequence[float], solver: Solver, nfe: NFE, parameters: Sequence[Tensor] = ()
) -> State:
    """Like :func:`ncode.solvers.engine.integrate`, with the same gradients in less memory.

    Args:
        parameters: captured tensors at which the gradient stops (see :func:`ncode.solvers.dispatch.solve`).
    """
    return checkpointed(_Shared(times, solver, nfe), f, state, times[0], nfe, parameters)


def checkpointed(
    plan: Plan, f: RightHandSide, state: State, t: float | Tensor, nfe: NFE, parameters: Sequence[Tensor]
) -> State:
    """The path that ``plan`` makes from ``state`` at ``t``, as one node of autograd's graph."""
    found = Captured(f, state, t, parameters)
    return _Checkpointed.apply(plan, f, nfe, len(state), found, *state, *found.tensors)


class _Checkpointed(torch.autograd.Function):
    @staticmethod
    def forward(ctx, plan, f, nfe, parts, found, *tensors):
        ctx.plan, ctx.f, ctx.nfe, ctx.parts = plan, f, nfe, parts
        # Where nothing arrives nothing is computed: behind a shut door may stand another solve, and many behind it.
        ctx.set_materialize_grads(False)
        device = tensors[0].device.type
        ctx.autocast = device, torch.is_autocast_enabled(device), torch.get_autocast_dtype(device)
        ctx.spent = 0
        path, kept = plan.forward(f, tuple(part.detach() for part in tensors[:parts]), found.velocity)
        ctx.kept = len(kept)
        ctx.save_for_backward(*tensors, *(part for state in kept for part in state))
        return path

    @staticmethod
    def backward(ctx, *gradients):
        n, saved, spent = ctx.parts, ctx.saved_tensors, NFE()
        kept = len(saved) - n * ctx.kept
        if all(g is None for g in gradients):
            return (None,) * (5 + kept)
        times = next(len(g) for g in gradients if g is not None)
        gradients = [
            part.new_zeros(times, *part.shape) if g is None else g for g, part in zip(gradients, saved, strict=False)
        ]
        state, w = saved[:n], saved[n:kept]
        again = ctx.plan.again(ctx.f, spent)
        device, enabled, dtype = ctx.autocast
        with torch.autocast(device, dtype=dtype, enabled=enabled):
            if torch.is_grad_enabled():
                found = _at_once(again, state, w, gradients)
            else:
                states = [saved[i : i + n] for i in range(kept, len(saved), n)]
                found = again.back(states, state, w, gradients)
        # A second backward pass through the same solve counts instead of the first.
        ctx.nfe.backward += spent.forward - ctx.spent
        ctx.spent = spent.forward
        return None, None, None, None, None, *found


def _at_once(again: Again, state: State, w: Sequence[Tensor], gradients: Sequence[Tensor]) -> list[Tensor | None]:
    """The gradients with a graph of their own: all steps in one, as direct gradients have them."""
    door = _Door()
    state = tuple(_Through.apply(door, part) for part in state)
    path = again.whole(state)
    asked = [part for part in (*state, *w) if part.requires_grad]
    pairs = [(part, g) for part, g in zip(path, gradients, strict=True) if part.requires_grad]
    ends, weights = zip(*pairs, strict=True)
    derived = iter(torch.autograd.grad(ends, asked, weights, create_graph=True, allow_unused=True))
    door.open = True
    return [next(derived) if part.requires_grad else None for part in (*state, *w)]


class _Door:
    """Shut while gradients of a state and of what it may come from are taken apart; open for their derivatives."""

    def __init__(self):
        self.open = False


class _Through(torch.autograd.Function):
    """A view whose gradient ends at it until the door opens.

    Autograd does not stop at a tensor whose gradient it is asked for. Of what f captures and the state comes from, as
    x(0) itself under data control or an encoder's weights, only f's own share is asked for here: the state's comes by
    the state's gradient. A state without history would have no second derivative.
    """

    @staticmethod
    def forward(ctx, door: _Door, part: Tensor) -> Tensor:
        ctx.door = door
        return part.view_as(part)

    @staticmethod
    def backward(ctx, gradient: Tensor) -> tuple[None, Tensor | None]:
        return None, gradient if ctx.door.open else None


class _Shared:
    """A solve of steps that all samples share. A :class:`Plan`."""

    def __init__(self, times: Sequence[float], solver: Solver, nfe: NFE):
        self.times, self.solver, self.nfe = times, solver, nfe
        self.record: Record[State] = Record()

    def forward(self, f: RightHandSide, state: State, velocity: State) -> tuple[State, list[State]]:
        path = integrate(known_at_first(f, velocity), state, self.times, self.solver, self.nfe, self.record.look)
        kept = [*self.record.states.values(), tuple(part[-1].clone() for part in path)]
        # Attached to the node they hold the memory that it saves.
        self.starts, self.record.states = list(self.record.states), {}
        return path, kept

    def again(self, f: RightHandSide, nfe: NFE) -> _Replay:
        def counted(t: Tensor, z: State) -> State:
            nfe.forward += 1
            return f(t, z)

        step = RungeKutta(TABLEAUS[self.solver.method], counted)
        return _Replay(step, self.times, self.record.lengths, self.starts)


class _Replay:
    """Takes the steps of a record again, with a graph."""

    def __init__(self, step: RungeKutta, times: Sequence[float], lengths: Sequence[Length], starts: list[int]):
        self.step, self.times, self.lengths, self.starts = step, times, lengths, starts

    def back(
        self, states: Sequence[State], state: State, w: Sequence[Tensor], gradients: Sequence[Tensor]
    ) -> tuple[Tensor, ...]:
        """As of :class:`Again`, segment by segment.

        Args:
            states: where the segments began, and where the last step ended.

        Raises:
            RuntimeError: where f has become another, or reaches a tensor that gets no gradient.
        """
        *begun, following = states
        at = dict(zip(self.starts, begun, strict=True))
        carried = tuple(torch.zeros_like(part) for part in state)
        grad_w, known = [torch.zeros_like(part) for part in w], edges(w)
        for start, stop in reversed(segments(self.starts, len(self.lengths))):
            with torch.enable_grad():
                x = leaves(at[start])
                y, found, slope = self._take(start, stop, x)
                must_be_alike(tuple(part.detach() for part in y), following)
                keep = must_be_known(slope, x, self.lengths[start].t, known)
                outputs, weights = list(y), list(carried)
                for i, picked in found:
                    outputs += picked
                    weights += [part[i] for part in gradients]
                carried = pull(tuple(outputs), tuple(weights), x, tuple(w), grad_w, keep)
            following = at[start]
        for i, time in enumerate(self.times):
            if time == self.times[0]:
                carried = tuple(a + part[i] for a, part in zip(carried, gradients, strict=True))
        return *carried, *grad_w

    def whole(self, state: State) -> State:
        _, found, _ = self._take(0, len(self.lengths), state)
        at = dict(found)
        return tuple(
            torch.stack(parts) for parts in zip(*(at.get(i, state) for i in range(len(self.times))), strict=True)
        )

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
