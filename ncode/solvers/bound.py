"""A solve of a right-hand side that is a kernel, as one node of autograd's graph.

Its gradient is the exact one of its discrete solve, from the record of the steps that were taken: what plain
backpropagation through the same steps gives, without a graph of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from ncode.fields.kernels import Kernel
from ncode.solvers import engine
from ncode.solvers.compiled_step import CompiledStep
from ncode.solvers.finite import finite
from ncode.solvers.kernel_step import KernelStep
from ncode.solvers.loop import Count, Stopped, adaptive_steps, fixed_steps
from ncode.solvers.options import NFE, Solver
from ncode.solvers.paths import Picker
from ncode.solvers.record import Record, segments
from ncode.solvers.rosenbrock import IMPLICIT
from ncode.solvers.step import RungeKutta, State, Taken, Weights
from ncode.solvers.tableaus import TABLEAUS


def can(solver: Solver, times: Sequence[float]) -> bool:
    """Whether a kernel is solved so: where the solver wants it, and a step knows all that it asks for."""
    if solver.method in IMPLICIT or not solver.kernels or solver.jumps:
        return False
    if solver.backend != "ncode" or solver.gradients == "adjoint":
        return False
    if isinstance(solver.rtol, tuple) or isinstance(solver.atol, tuple):
        return False
    return len(times) == 2 or TABLEAUS[solver.method].adaptive


def integrate(kernel: Kernel, state: State, times: Sequence[float], solver: Solver, nfe: NFE) -> State:
    """The parts of z at every one of ``times``, time first.

    Raises:
        SolveError: when the solve fails.
    """
    solve = _Solve(kernel, times, solver, nfe)
    path = _Node.apply(solve, kernel.pack(state), *kernel.weights)
    return kernel.unpack(path)


class _Solve:
    """One solve: its steps, forward and backward."""

    def __init__(self, kernel: Kernel, times: Sequence[float], solver: Solver, nfe: NFE):
        self.kernel, self.times, self.solver, self.nfe = kernel, times, solver, nfe
        self.tableau = TABLEAUS[solver.method]
        kind = CompiledStep if solver.compiled else KernelStep
        self.step = kind(self.tableau, kernel, dense=self.tableau.adaptive and len(times) > 2)
        self.taken: list[Taken] = []
        self.record: Record[Tensor] = Record()

    def forward(self, z: Tensor, w: Weights, keep: bool) -> Tensor:
        whole = keep and self.solver.gradients == "direct"
        self.step.keep = whole
        picker = Picker(self.step, z, self.times, w)
        for taken in self.steps(z, w):
            picker.look(taken)
            if keep:
                self.record.look(taken)
            if whole:
                self.taken.append(taken)
        path = torch.stack(picker.states)
        if not self.tableau.adaptive and not finite([path]):
            # Fixed steps go on to the end with whatever they have: then again, up to where it went wrong.
            spent, self.nfe.forward = self.nfe.forward, 0
            wrong = next(taken for taken in self.steps(z, w) if not torch.isfinite(taken.y).all())
            raise engine.failure("non-finite values", wrong.end, self.kernel.unpack(wrong.y), spent)
        return path

    def steps(self, z: Tensor, w: Weights) -> Iterator[Taken]:
        """The steps, as they are taken; evaluations are counted, failures come as ``SolveError``."""
        count, (first, *_, last) = Count(self.solver.max_nfe), self.times
        try:
            if self.tableau.adaptive:
                ends = [first, last] if self.tableau.interpolates else self.times
                yield from adaptive_steps(self.step, z, ends, engine.adaptive(self.solver), count, w, z.dtype)
            elif first != last:
                n = self.solver.count(first, last)
                yield from fixed_steps(self.step, z, first, last, n, count, w)
        except Stopped as stop:
            state = self.kernel.unpack(stop.x)
            raise engine.failure(stop.reason, stop.t, state, count.spent, stop.errors) from None
        finally:
            self.nfe.forward = count.spent

    def stretches(self, w: Weights) -> Iterator[list[Taken]]:
        """All steps from the last stretch to the first; those that were not kept are taken once more."""
        if self.taken:
            taken, self.taken = self.taken, []
            yield taken
            return
        self.step.keep = True
        for first, end in reversed(segments(sorted(self.record.states), len(self.record.lengths))):
            z, k1, taken = self.record.states[first], None, []
            for t, h, stop, _ in self.record.lengths[first:end]:
                if k1 is None:
                    k1 = self.step.start(t, z, w)
                    self.nfe.backward += 1
                y, k_last, _, stages = self.step(t, z, k1, h, None, w)
                self.nfe.backward += self.step.evaluations
                taken.append(Taken(t, h, stop, z, k1, y, k_last, stages))
                z, k1 = y, k_last
            yield taken

    def backward(self, z: Tensor, gradient: Tensor, w: Weights, grad_w: Sequence[Tensor | None]) -> Tensor:
        """The gradient of z from that of the path."""
        pending = [(index, time) for index, time in enumerate(self.times) if time != self.times[0]]
        grad, grad_k = torch.zeros_like(z), None
        first: Taken | None = None
        self.nfe.backward = 0
        for stretch in self.stretches(w):
            for taken in reversed(stretch):
                grad, inside, grad_slopes = self._outputs(taken, pending, gradient, grad)
                grad, grad_k = self.step.back(taken, grad, grad_k, w, grad_w, grad_slopes)
                grad += inside
                if not self.step.fsal:
                    grad, grad_k = grad + self.step.back_start(taken.t, taken.x, grad_k, w, grad_w), None
            self.kernel.finish()
            first = stretch[0]
        if first is not None and grad_k is not None:
            grad += self.step.back_start(first.t, first.x, grad_k, w, grad_w)
            self.kernel.finish()
        self.step.forget()
        for index, time in enumerate(self.times):
            if time == self.times[0]:
                grad += gradient[index]
        return grad

    def _outputs(
        self, taken: Taken, pending: list[tuple[int, float]], gradient: Tensor, grad: Tensor
    ) -> tuple[Tensor, Tensor | float, Tensor | None]:
        """What output times in a step or at its end add to the gradients of its end, its beginning, and its slopes.

        They are taken off the end of ``pending``.
        """
        inside: Tensor | float = 0.0
        slopes = None
        while pending and (pending[-1][1] - taken.t) * taken.h > 0:
            index, time = pending.pop()
            if time == taken.end:
                grad = grad + gradient[index]
                continue
            # x(t + sh) = x + h Σ w_i k_i.
            weights = self.step.weights_at((time - taken.t) / taken.h, grad)
            seeds = torch.outer(weights, gradient[index].reshape(-1)).mul_(taken.h).view(-1, *grad.shape)
            slopes = seeds if slopes is None else slopes.add_(seeds)
            inside = inside + gradient[index]
        return grad, inside, slopes

    def differentiable(self, z: Tensor, w: Weights) -> Tensor:
        """The path again, by operations that autograd records: for derivatives of the gradient."""
        step = RungeKutta(self.tableau, lambda t, parts: (self.kernel.velocity(t, parts[0], w),))
        picker = Picker(step, (z,), self.times)
        state, slope = (z,), None
        for t, h, end, _ in self.record.lengths:
            slope = step.start(t, state) if slope is None else slope
            y, last, _, stages = step(t, state, slope, h)
            picker.look(Taken(t, h, end, state, slope, y, last, stages))
            state, slope = y, last
        return torch.stack([parts[0] for parts in picker.states])


class _Node(torch.autograd.Function):
    @staticmethod
    def forward(ctx, solve: _Solve, z: Tensor, *w: Tensor) -> Tensor:
        ctx.solve = solve
        ctx.save_for_backward(z, *w)
        # Attached, what is kept would hold the node that keeps it.
        return solve.forward(z.detach(), tuple(part.detach() for part in w), any(ctx.needs_input_grad))

    @staticmethod
    def backward(ctx, gradient: Tensor) -> tuple:
        z, *w = ctx.saved_tensors
        needs = ctx.needs_input_grad[1:]
        if torch.is_grad_enabled():
            # Names of their own: a weight may come from z as well, as γ(x(0)) does, and its share is not z's.
            z, *w = (part.view_as(part) for part in (z, *w))
            wanted = [part for part, need in zip((z, *w), needs, strict=True) if need]
            path = ctx.solve.differentiable(z, tuple(w))
            found = iter(torch.autograd.grad(path, wanted, gradient, create_graph=True, allow_unused=True))
            return None, *(next(found) if need else None for need in needs)
        w = tuple(w)
        grad_w = tuple(torch.zeros_like(part) if need else None for part, need in zip(w, needs[1:], strict=True))
        return None, ctx.solve.backward(z, gradient, w, grad_w), *grad_w
