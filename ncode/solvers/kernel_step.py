"""One Runge-Kutta step on a kernel: buffers instead of a graph, forward and backward."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache

import torch
from torch import Tensor

from ncode.fields.kernels import Kernel
from ncode.solvers.step import Norm, Taken, Weights
from ncode.solvers.tableaus import Tableau

Numbers = tuple[float, float]
"""(rtol, atol): one of each, since a kernel's z is one part."""


class KernelStep:
    """A :class:`~ncode.solvers.step.Step` of an explicit method for a right-hand side that is a kernel.

    A step's slopes are the rows of one matrix, so that every stage's input is one product with it.

    Args:
        tableau: the method.
        kernel: the right-hand side.
        dense: keep the slopes of every step, for :meth:`between`.

    Attributes:
        keep: whether steps keep what their gradient needs.
    """

    def __init__(self, tableau: Tableau, kernel: Kernel, dense: bool = False):
        self.tableau, self.kernel, self.keep, self.dense = tableau, kernel, True, dense
        self.order, self.fsal = tableau.order, tableau.fsal
        self.evaluations = tableau.stages - 1
        self._bound: list[int] | None = None
        self._w: Weights | None = None
        self._gw: Sequence | None = None
        self._started: dict[int, tuple] = {}

    def start(self, t: float, x: Tensor, w: Weights) -> Tensor:
        self._bind(w, x)
        k1 = torch.empty_like(x)
        saved = self.kernel.f(t, x, k1)
        if self.keep:
            self._started[id(x)] = (x, saved)
        return k1

    def __call__(self, t: float, x: Tensor, k1: Tensor, h: float, tol: Numbers | None, w: Weights) -> tuple:
        self._bind(w, x)
        rows, _, error_weights = coefficients(self.tableau, x.dtype, x.device)
        flat = x.view(-1)
        slopes = x.new_empty(self.tableau.stages, *x.shape)
        slopes[0] = k1
        matrix, places = slopes.view(len(slopes), -1).t(), slopes.unbind(0)
        inputs = x.new_empty(len(rows), *x.shape)
        flats, shaped = inputs.view(len(inputs), -1).unbind(0), inputs.unbind(0)
        stages = []
        for i, c in enumerate(self.tableau.c[1:]):
            torch.addmv(flat, matrix[:, : i + 1], rows[i], alpha=h, out=flats[i])
            saved = self.kernel.f(t + c * h, shaped[i], places[i + 1])
            stages.append(saved)
            if not self.keep:
                stages.clear()
        if not self.fsal:
            torch.addmv(flat, matrix, rows[-1], alpha=h, out=flats[-1])
        y, errors = shaped[-1], None
        if tol is not None:
            allowed = self._allowed(torch.maximum(x.abs(), y.abs()), tol)
            error = torch.mv(matrix, error_weights).mul_(h).view(x.shape)
            errors = self.kernel.rms(error.div_(allowed).square_())
        k_last = places[-1].clone() if self.fsal else None
        # All stages' inputs share memory: of a step that keeps nothing, its end must not keep them.
        return y if self.keep else y.clone(), k_last, errors, (stages, slopes if self.dense else None)

    def back(
        self,
        taken: Taken,
        grad_y: Tensor,
        grad_k_last: Tensor | None,
        w: Weights,
        grad_w: Sequence[Tensor | None],
        grad_slopes: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """As :meth:`ncode.solvers.step.StepWithGradient.back`.

        Args:
            grad_slopes: further gradients of all slopes, as rows.
        """
        self._bind(w, taken.x)
        self._gradients(grad_w)
        _, columns, _ = coefficients(self.tableau, taken.x.dtype, taken.x.device)
        vjp, h, stages = self.kernel.vjp, taken.h, taken.stages[0]
        grads = torch.empty(len(columns), *grad_y.shape, dtype=grad_y.dtype, device=grad_y.device)
        matrix, places = grads.view(len(grads), -1).t(), grads.unbind(0)
        last = len(grads) - 1
        if self.fsal and grad_slopes is not None:
            grad_k_last = grad_slopes[-1] if grad_k_last is None else grad_k_last + grad_slopes[-1]
        if self.fsal and grad_k_last is not None:
            vjp(stages[last], grad_k_last, places[last])
            places[last].add_(grad_y)
        else:
            places[last].copy_(grad_y)
        for i in range(last - 1, -1, -1):
            g = torch.mv(matrix[:, i + 1 :], columns[i + 1]).mul_(h).view(grad_y.shape)
            if grad_slopes is not None:
                g.add_(grad_slopes[i + 1])
            vjp(stages[i], g, places[i])
        grad_k1 = torch.mv(matrix, columns[0]).mul_(h).view(grad_y.shape)
        return grads.sum(0), grad_k1 if grad_slopes is None else grad_k1.add_(grad_slopes[0])

    def back_start(self, t: float, x: Tensor, grad_k1: Tensor, w: Weights, grad_w: Sequence[Tensor | None]) -> Tensor:
        self._bind(w, x)
        self._gradients(grad_w)
        out = torch.empty_like(x)
        _, saved = self._started.pop(id(x))
        self.kernel.vjp(saved, grad_k1, out)
        return out

    def forget(self) -> None:
        """Let go of what is kept of the steps' first slopes."""
        self._started.clear()

    def guess(self, t: float, x: Tensor, k1: Tensor, sign: float, tol: Numbers, norm: Norm, w: Weights) -> float:
        """As :meth:`ncode.solvers.step.RungeKutta.guess`."""
        allowed = self._allowed(x.abs(), tol)

        def size(part: Tensor) -> float:
            return norm(self.kernel.rms((part / allowed).square_()))

        d0, d1 = size(x), size(k1)
        h0 = 0.01 * d0 / d1 if 1e-5 <= d0 < math.inf and 1e-5 <= d1 < math.inf else 1e-6
        k2 = torch.empty_like(x)
        self.kernel.f(t + sign * h0, torch.add(x, k1, alpha=sign * h0), k2)
        d2 = size(k2.sub_(k1)) / h0
        most = max(d1, d2)
        h1 = max(1e-6, h0 * 1e-3) if most <= 1e-15 else (0.01 / most) ** (1 / self.order)
        return min(100 * h0, h1) or 1e-6

    def between(self, taken: Taken, s: float) -> Tensor:
        """The state at t + s h, by a method that has polynomials of its own."""
        slopes = taken.stages[1]
        matrix = slopes.view(len(slopes), -1).t()
        return torch.addmv(taken.x.view(-1), matrix, self.weights_at(s, taken.x), alpha=taken.h).view_as(taken.x)

    def weights_at(self, s: float, like: Tensor) -> Tensor:
        """w in x(t + s h) = x + h Σ w_i k_i."""
        weights = [sum(a * s ** (power + 1) for power, a in enumerate(row)) for row in self.tableau.dense]
        return torch.tensor(weights, dtype=like.dtype, device=like.device)

    def _allowed(self, sizes: Tensor, tol: Numbers) -> Tensor:
        rtol, atol = tol
        return sizes.mul_(rtol).add_(atol)

    def _bind(self, w: Weights, like: Tensor) -> None:
        if w is not self._w:
            # The backward pass unpacks the same memory under other names.
            places = [part.data_ptr() for part in w]
            if places != self._bound:
                self.kernel.bind(w, like)
            self._w, self._bound = w, places

    def _gradients(self, gw: Sequence[Tensor | None]) -> None:
        if gw is not self._gw:
            self.kernel.bind_gradients(gw)
            self._gw = gw


@cache
def coefficients(
    tableau: Tableau, dtype: torch.dtype, device: torch.device
) -> tuple[list[Tensor], list[Tensor], Tensor]:
    """For every stage after the first, and for y, the weights of the slopes before it; for every slope its weights in
    what comes after it; and the error's weights, none where the method has no error."""

    def make(values: Sequence[float]) -> Tensor:
        return torch.tensor(values, dtype=dtype, device=device)

    # Where the last stage is evaluated at y, its input is y.
    rows = [*tableau.a[1:], *(() if tableau.fsal else (tableau.b,))]
    columns = [make([row[i] for row in rows[i:]]) for i in range(len(rows))]
    return [make(row) for row in rows], columns, make(tableau.error)
