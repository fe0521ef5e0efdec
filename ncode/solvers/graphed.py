"""An adaptive solve whose attempted step is recorded once and replayed, and so is that step's gradient.

A GPU that runs a small field waits for Python: every operation of every stage is launched on its own. A CUDA graph
launches a recorded sequence of operations at once. It repeats operations and decides nothing, so the solve's loop stays
as it is, with its controller, limits and failures: it reads one number a step, the error, and asks for another attempt.

What is recorded knows memory by its address. A :class:`Recording` owns the memory that goes in, and whatever is kept of
what comes out is a copy.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.func import functional_call

from ncode.solvers import engine
from ncode.solvers.adjoint.graph import edges, walk
from ncode.solvers.options import NFE, Solver
from ncode.solvers.problem import RightHandSide, State
from ncode.solvers.step import RungeKutta, Tolerances, clock, leaves, pull
from ncode.solvers.tableaus import TABLEAUS

Reading = Callable[[Sequence[Tensor]], RightHandSide]
"""The right-hand side that reads given tensors, beside a module's parameters."""
WARM = 3
"""Runs before a capture: libraries choose their algorithms and make their workspaces meanwhile."""


class Recorded:
    """A function that reads and fills fixed memory, recorded once.

    On a GPU it is captured in a CUDA graph. Elsewhere it runs anew, and its results go where its first ones lie: what
    holds for one holds for the other.

    Args:
        function: neither reads a number off a tensor nor makes a tensor from numbers by copying.
        device: where its memory lies.

    Raises:
        RuntimeError: from PyTorch, on a GPU, where the function does what no graph can hold.
    """

    def __init__(self, function: Callable[[], State], device: torch.device):
        self.function, self.device = function, device
        self.graph: torch.cuda.CUDAGraph | None = None
        self.found = self._capture() if device.type == "cuda" else tuple(part.clone() for part in function())

    def replay(self) -> State:
        """The results for what lies in memory now; they last until the next replay."""
        if self.graph is None:
            for kept, part in zip(self.found, self.function(), strict=True):
                kept.copy_(part)
        else:
            # A graph is launched on the current device's stream.
            with torch.cuda.device(self.device):
                self.graph.replay()
        return self.found

    def _capture(self) -> State:
        with torch.cuda.device(self.device):
            stream = torch.cuda.Stream()
            stream.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(stream):
                for _ in range(WARM):
                    self.function()
            torch.cuda.current_stream().wait_stream(stream)
            self.graph = torch.cuda.CUDAGraph()
            try:
                with torch.cuda.graph(self.graph):
                    return self.function()
            except Exception as error:
                error.add_note("field: what it does cannot be captured in a CUDA graph, as reading a number cannot")
                raise


class Kept(NamedTuple):
    """An accepted step: where it began, its length, and whether its slope is no earlier step's last."""

    t: float
    h: float
    fresh: bool
    x: State
    k1: State


class Recording:
    """The velocity, an attempted step, and the gradients of both, recorded on memory of their own.

    Args:
        reading: the right-hand side, posed on given tensors. It is called within what is recorded.
        module: whose parameters it reads besides; it finds them where they lie.
        solver: an explicit adaptive method, and its tolerances.
        state: an example of the parts of z.
        given: an example of the tensors that the right-hand side is posed on.
        memory: what it reads besides, parameters and buffers.

    Attributes:
        names: the module's parameters that the right-hand side reads and that need a gradient.

    Raises:
        ValueError: when the right-hand side reaches a leaf that needs a gradient and is neither given nor a parameter
            of the module.
    """

    def __init__(
        self,
        reading: Reading,
        module: nn.Module,
        solver: Solver,
        state: State,
        given: Sequence[Tensor],
        memory: Sequence[Tensor],
    ):
        self.reading, self.memory, self.under = reading, list(memory), _Under(module)
        self.tableau, self.tol = TABLEAUS[solver.method], (solver.rtol, solver.atol)
        self.device = state[0].device
        # What inference mode makes could take part in no gradient later.
        with torch.inference_mode(False), torch.no_grad():
            self.t, self.h = (torch.zeros((), dtype=torch.float64, device=self.device) for _ in range(2))
            self.x, self.given = _own(state), _own(given)
            self.k1 = self._velocity()
            self.names, self.reached = self._reads()
            # The right-hand side may give a part of its own input.
            self.k1 = _own(self.k1)
            self.velocity_, self.attempt_ = (Recorded(one, self.device) for one in (self._velocity, self._attempt))
        self._gradients: tuple[Recorded, Recorded] | None = None

    def gradients(self) -> tuple[Recorded, Recorded]:
        """The gradients of the velocity and of a step; recorded where they are not yet."""
        if self._gradients is None:
            with torch.inference_mode(False), torch.no_grad():
                self.grad_y, self.grad_k = (tuple(map(torch.zeros_like, part)) for part in (self.x, self.k1))
                named = dict(self.under.module.named_parameters())
                sources = [*self._wanted(self.given), *(named[name] for name in self.names)]
                self.grad_w = tuple(map(torch.zeros_like, sources))
                first, step = (Recorded(one, self.device) for one in (self._velocity_back, self._attempt_back))
            self._gradients = first, step
        return self._gradients

    def load(self, given: Sequence[Tensor]) -> None:
        """Read these from now on."""
        _fill(self.given, given)

    def velocity(self, t: Tensor, x: State) -> State:
        """z' at (t, x)."""
        self.t.copy_(t)
        _fill(self.x, x)
        return _copies(self.velocity_.replay())

    def attempt(self, t: float, x: State, k1: State, h: float) -> tuple[State, State | None, Tensor]:
        """y, the slope there where the method has it, and the errors of a step of length h from (t, x)."""
        self._begin(t, x, k1, h)
        *found, errors = _copies(self.attempt_.replay())
        y, k_last = tuple(found[: len(x)]), tuple(found[len(x) :])
        return y, k_last or None, errors

    def back(self, kept: Sequence[Kept], gradient: State) -> tuple[State, list[Tensor | None], int]:
        """The gradients of z(0), of what is given and of the named parameters, from that of the last step's end.

        Returns:
            Those of z(0); the others, ``None`` where the right-hand side does not read; and the evaluations taken.
        """
        start, step = self.gradients()
        for total in self.grad_w:
            total.zero_()
        grad, grad_k, spent = gradient, None, 0
        for one in reversed(kept):
            self._begin(one.t, one.x, one.k1, one.h)
            _fill(self.grad_y, grad)
            if grad_k is None:
                for part in self.grad_k:
                    part.zero_()
            else:
                _fill(self.grad_k, grad_k)
            found = _copies(step.replay())
            grad, grad_k = found[: len(grad)], found[len(grad) :]
            spent += self.tableau.stages - 1
            if one.fresh:
                _fill(self.grad_k, grad_k)
                grad, grad_k = tuple(a + b for a, b in zip(grad, start.replay(), strict=True)), None
                spent += 1
        totals = iter(_copies(self.grad_w))
        return grad, [next(totals) if read else None for read in (*self.reached, *(True for _ in self.names))], spent

    def _begin(self, t: float, x: State, k1: State, h: float) -> None:
        self.t.fill_(t)
        self.h.fill_(h)
        _fill(self.x, x)
        _fill(self.k1, k1)

    def _wanted(self, given: Sequence[Tensor]) -> list[Tensor]:
        return [part for part, read in zip(given, self.reached, strict=True) if read]

    # What is recorded poses the right-hand side anew, so that what that computes from given tensors is recorded, too.

    def _velocity(self) -> State:
        with torch.no_grad():
            return self.reading(self.given)(clock(self.t, self.x), self.x)

    def _attempt(self) -> State:
        with torch.no_grad():
            y, k_last, errors, _ = self._step(self.given, self.x, self.k1, self.tol)
        return *y, *(k_last or ()), errors

    def _velocity_back(self) -> State:
        with torch.enable_grad():
            x, given, own = leaves(self.x), leaves(self.given), self.under.leaves(self.names)
            velocity = self.under.run(own, lambda: self.reading(given)(clock(self.t, x), x))
            w = (*self._wanted(given), *own.values())
            return pull(velocity, self.grad_k, x, w, self.grad_w, keep=False)

    def _attempt_back(self) -> State:
        with torch.enable_grad():
            x, k1, given, own = leaves(self.x), leaves(self.k1), leaves(self.given), self.under.leaves(self.names)
            y, k_last, *_ = self.under.run(own, lambda: self._step(given, x, k1))
            w = (*self._wanted(given), *own.values())
            ends, gradients = (*y, *(k_last or ())), (*self.grad_y, *(self.grad_k if k_last else ()))
            return pull(ends, gradients, (*x, *k1), w, self.grad_w, keep=False)

    def _step(self, given: Sequence[Tensor], x: State, k1: State, tol: Tolerances | None = None) -> tuple:
        return RungeKutta(self.tableau, self.reading(given))(self.t, x, k1, self.h, tol)

    def _reads(self) -> tuple[list[str], list[bool]]:
        """Which parameters the right-hand side reads, by name, and which of what is given."""
        with torch.enable_grad():
            named = {name: p for name, p in self.under.module.named_parameters() if p.requires_grad}
            x, given, own = leaves(self.x), leaves(self.given), self.under.leaves(list(named))
            k1 = self.under.run(own, lambda: self.reading(given)(clock(self.t, x), x))
            # All stages: what is read at the start alone is not all that a step reads.
            y, k_last, *_ = self.under.run(own, lambda: self._step(given, x, k1))
            ends = [part for part in (*y, *(k_last or ()), *k1) if part.requires_grad]
            known = (*given, *own.values())
            strange, _ = walk(edges(ends), edges((*known, *x)))
            if strange:
                raise ValueError(
                    f"field: reaches a tensor of shape {tuple(strange[0].shape)} that needs a gradient and is no "
                    "parameter of the model; its gradient would be lost: make it a parameter of the field"
                )
            weights = [torch.ones_like(end) for end in ends]
            found = (
                torch.autograd.grad(ends, known, weights, allow_unused=True) if ends and known else [None] * len(known)
            )
        read = [part is not None for part in found]
        return [name for name, one in zip(own, read[len(given) :], strict=True) if one], read[: len(given)]


class ReplayedStep(RungeKutta):
    """A Runge-Kutta step that replays a recording. A :class:`~ncode.solvers.step.Step`."""

    def __init__(self, recording: Recording):
        super().__init__(recording.tableau, recording.velocity)
        self.recording = recording

    def __call__(self, t: float, x: State, k1: State, h: float, tol=None, w=()) -> tuple:
        return *self.recording.attempt(t, x, k1, h), []


def integrate(
    recording: Recording, solver: Solver, state: State, given: Sequence[Tensor], times: Sequence[float], nfe: NFE
) -> State:
    """The parts of z at the last of two times, as one node of autograd's graph.

    Its gradient is that of the steps that were taken. Each is taken again, from the last to the first; two states a
    step are kept.

    Args:
        recording: of this right-hand side, for states and given tensors of these shapes.
        solver: what chooses the steps.
        given: what the right-hand side reads in this solve, with or without a history.
        nfe: counts the evaluations.

    Raises:
        SolveError: when the solve fails.
        RuntimeError: under a transform of ``torch.func``; in the backward pass, when parameters were changed or moved
            since, or a second derivative is asked for.
    """
    named = dict(recording.under.module.named_parameters())
    own = [named[name] for name in recording.names]
    if torch.is_grad_enabled() and any(part.requires_grad for part in (*state, *given, *own)):
        recording.gradients()
    try:
        return _Node.apply(recording, solver, times, nfe, len(state), *state, *given, *own)
    except RuntimeError as error:
        if "functorch" not in str(error):
            raise
        raise RuntimeError("Graphed: torch.func's transforms need the model itself, with direct gradients") from None


class _Node(torch.autograd.Function):
    @staticmethod
    def forward(ctx, recording: Recording, solver: Solver, times, nfe: NFE, parts: int, *tensors):
        ctx.recording, ctx.nfe, ctx.parts, ctx.spent = recording, nfe, parts, 0
        keep, kept, slope = any(ctx.needs_input_grad), [], None
        end = state = tuple(part.detach() for part in tensors[:parts])
        recording.load(tensors[parts : parts + len(recording.given)])
        for taken in engine.steps(ReplayedStep(recording), state, times, solver, nfe):
            if keep:
                kept.append(Kept(taken.t, taken.h, taken.k1 is not slope, taken.x, taken.k1))
            slope, end = taken.k_last, taken.y
        ctx.memory = addresses(recording.memory), versions(recording.memory)
        ctx.kept = [one._replace(x=(), k1=()) for one in kept]
        ctx.save_for_backward(
            *tensors[: parts + len(recording.given)], *(part for one in kept for part in (*one.x, *one.k1))
        )
        return end

    @staticmethod
    def backward(ctx, *gradient):
        if torch.is_grad_enabled():
            raise RuntimeError(
                "Graphed: its gradient has no derivative (create_graph=True): call the model itself, with direct or "
                "checkpointed gradients"
            )
        recording, n = ctx.recording, ctx.parts
        given = slice(n, n + len(recording.given))
        saved = ctx.saved_tensors
        if (addresses(recording.memory), versions(recording.memory)) != ctx.memory:
            raise RuntimeError(
                "Graphed: the field's parameters or buffers were changed or moved between forward and backward, which "
                "takes the steps again"
            )
        states = saved[given.stop :]
        kept = [
            one._replace(x=states[2 * n * i : 2 * n * i + n], k1=states[2 * n * i + n : 2 * n * (i + 1)])
            for i, one in enumerate(ctx.kept)
        ]
        with torch.autocast(recording.device.type, enabled=False):
            recording.load(saved[given])
            grad, rest, spent = recording.back(kept, gradient)
        # A second backward pass through the same solve counts instead of the first.
        ctx.nfe.backward += spent - ctx.spent
        ctx.spent = spent
        return None, None, None, None, None, *grad, *rest


class _Under(nn.Module):
    """Runs a function while leaves stand for a module's parameters.

    Leaves of one's own, since autograd ties a parameter's to the stream that first used it, which no capture could
    follow.
    """

    def __init__(self, module: nn.Module):
        super().__init__()
        self.module = module

    def forward(self, function: Callable):
        return function()

    def leaves(self, names: Sequence[str]) -> dict[str, Tensor]:
        named = dict(self.module.named_parameters())
        return {name: named[name].detach().requires_grad_() for name in names}

    def run(self, own: dict[str, Tensor], function: Callable):
        return functional_call(self, {f"module.{name}": leaf for name, leaf in own.items()}, (function,))


def addresses(parts: Sequence[Tensor]) -> tuple[int, ...]:
    """Where tensors lie."""
    return tuple(part.data_ptr() for part in parts)


def versions(parts: Sequence[Tensor]) -> tuple[int, ...]:
    """How often tensors were changed in place; those of inference mode, which do not say, count as never."""
    return tuple(0 if part.is_inference() else part._version for part in parts)


def _own(parts: Sequence[Tensor]) -> State:
    return tuple(part.detach().clone() for part in parts)


def _copies(parts: Sequence[Tensor]) -> State:
    return tuple(part.clone() for part in parts)


def _fill(memory: Sequence[Tensor], parts: Sequence[Tensor]) -> None:
    with torch.no_grad():
        for kept, part in zip(memory, parts, strict=True):
            kept.copy_(part)
