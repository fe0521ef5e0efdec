"""One step of a solve: what every step must offer (:class:`Step`), and the one for any right-hand side.

A solve's loop decides when to step and how far; it never looks into a state. So a step is free to hold it as it likes:
:class:`RungeKutta` holds a tuple of parts, each with the batch first, and works for any right-hand side. A field that
knows more about itself, its own vector-Jacobian product or a layout that it computes fastest in, brings a step of its
own.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor

from ncode.solvers.norms import Tolerance, larger, ratios
from ncode.solvers.problem import RightHandSide, State
from ncode.solvers.tableaus import Tableau, hermite

Tolerances = tuple[Tolerance, Tolerance]
"""(rtol, atol)."""
Errors = Tensor | Any
"""A step's errors over what is allowed, (batch) or (parts, batch); ``None`` without tolerances, which its caller knows
without asking."""
Norm = Callable[[Tensor], float]
"""One number for all parts' and samples' errors."""
Weights = tuple[Tensor, ...]
"""What the right-hand side reads besides t and z, and what gets a gradient, in the layout of the step's own choice."""


@dataclass(slots=True)
class Taken:
    """One accepted step, from x at t to y at ``end`` = t + h.

    Attributes:
        t, h, end: in float64; ``h`` is negative where time runs backward. Numbers, or vectors of one a sample.
        x, y: the states at its ends.
        k1: the slope at (t, x).
        k_last: the slope at (end, y) where the method has it. Who needs it and finds ``None`` fills it in, and the
            next step begins from it; the loop counts the evaluation.
        stages: whatever the step kept to go backward and to interpolate: all slopes, or the stages' inputs.
        length: what was proposed before the step was cut to end where one must; positive.
    """

    t: Any
    h: Any
    end: Any
    x: Any
    k1: Any
    y: Any
    k_last: Any
    stages: Any
    length: float = 0.0


@runtime_checkable
class Step(Protocol):
    """What a solve's loop needs of a step.

    ``x`` and slopes are opaque: what :meth:`start` and :meth:`__call__` give goes back into them.

    Attributes:
        order: of the solution that is carried on.
        evaluations: of the right-hand side by :meth:`__call__`; :meth:`start` takes one more.
        fsal: whether :meth:`__call__` gives the slope at its end.
    """

    order: int
    evaluations: int
    fsal: bool

    def start(self, t: float, x: Any, w: Weights) -> Any:
        """The slope k₁ at (t, x)."""

    def __call__(self, t: float, x: Any, k1: Any, h: float, tol: Any, w: Weights) -> tuple[Any, Any, Errors, Any]:
        """y, k_last, errors and stages of a step of length h from (t, x).

        Args:
            tol: rtol and atol, by part only where the step knows parts; ``None`` where it is taken whatever its error.

        Returns:
            y; the slope at (t + h, y), ``None`` without fsal; the errors, over what ``tol`` allows, of shape (batch)
            or (parts, batch), detached, ``None`` without ``tol``; and whatever the step keeps of its stages.
        """
        ...

    def guess(self, t: float, x: Any, k1: Any, sign: float, tol: Any, norm: Norm, w: Weights) -> float:
        """The length of the first step to try, positive; evaluates the right-hand side once."""
        ...


@runtime_checkable
class StepWithGradient(Step, Protocol):
    """A step that knows its own gradient, for solves that keep no graph."""

    def back(self, taken: Taken, grad_y: Any, grad_k_last: Any, w: Weights, grad_w: Sequence[Tensor]) -> tuple:
        """The gradients of x and k₁ from those of y and k_last (``None`` for none); those of w are added to
        ``grad_w``."""
        ...

    def back_start(self, t: float, x: Any, grad_k1: Any, w: Weights, grad_w: Sequence[Tensor]) -> Any:
        """The gradient of x from that of k₁ = start(t, x, w); those of w are added to ``grad_w``."""


class RungeKutta:
    """A step of an explicit method for any right-hand side, in plain differentiable operations.

    Args:
        tableau: the method.
        f: the right-hand side.
    """

    def __init__(self, tableau: Tableau, f: RightHandSide):
        self.tableau, self.f = tableau, f
        self.order, self.fsal = tableau.order, tableau.fsal
        self.evaluations = tableau.stages - 1

    def start(self, t: float | Tensor, x: State, w: Weights = ()) -> State:
        return self.f(clock(t, x), x)

    def __call__(
        self, t: float | Tensor, x: State, k1: State, h: float | Tensor, tol: Tolerances | None = None, w: Weights = ()
    ) -> tuple[State, State | None, Tensor | None, list[State]]:
        tableau, slopes, y = self.tableau, [k1], x
        for c, row in zip(tableau.c[1:], tableau.a[1:], strict=True):
            y = advance(x, h, row, slopes)
            slopes.append(self.f(clock(t + c * h, x), y))
        if not tableau.fsal:
            y = advance(x, h, tableau.b, slopes)
        errors = None
        if tol is not None:
            with torch.no_grad():
                errors = ratios(combine(h, tableau.error, slopes), larger(x, y), *tol)
        return y, slopes[-1] if tableau.fsal else None, errors, slopes

    def end(self, t: float | Tensor, x: State, k1: State, h: float | Tensor) -> State:
        """y alone, and no evaluation for the slope there."""
        tableau, slopes = self.tableau, [k1]
        stages = list(zip(tableau.c, tableau.a, strict=True))[1:]
        for c, row in stages[:-1] if tableau.fsal else stages:
            slopes.append(self.f(clock(t + c * h, x), advance(x, h, row, slopes)))
        return advance(x, h, tableau.b, slopes)

    def guess(self, t: float, x: State, k1: State, sign: float, tol: Tolerances, norm: Norm, w: Weights = ()) -> float:
        """From the field's size and curvature at the start (Hairer, Nørsett and Wanner, II.4)."""
        with torch.no_grad():
            sizes = [part.abs() for part in x]
            d0, d1 = (norm(ratios(parts, sizes, *tol)) for parts in (x, k1))
            h0 = 0.01 * d0 / d1 if 1e-5 <= d0 < math.inf and 1e-5 <= d1 < math.inf else 1e-6
            k2 = self.f(clock(t + sign * h0, x), advance(x, sign * h0, (1.0,), [k1]))
            d2 = norm(ratios([b - a for a, b in zip(k1, k2, strict=True)], sizes, *tol)) / h0
            most = max(d1, d2)
            h1 = max(1e-6, h0 * 1e-3) if most <= 1e-15 else (0.01 / most) ** (1 / self.order)
            return min(100 * h0, h1) or 1e-6

    def between(self, taken: Taken, s: float | Tensor) -> State:
        """The state at t + s h, from the method's own polynomials or the cubic through both ends."""
        if self.tableau.dense:
            slopes, dense = taken.stages, self.tableau.dense
        else:
            # Through y by its difference from x, as if it came from one stage.
            rise = tuple((y - x) / _like(taken.h, x) for x, y in zip(taken.x, taken.y, strict=True))
            slopes = [taken.k1, rise, taken.k_last]
            dense = hermite((0.0, 1.0, 0.0))
        weights = [sum(a * s ** (power + 1) for power, a in enumerate(row)) for row in dense]
        return advance(taken.x, taken.h, weights, slopes)


def leaves(parts: State) -> State:
    """The same values, without their history and asked for gradients."""
    return tuple(part.detach().requires_grad_() for part in parts)


def pull(outputs: State, gradients: State, inputs: State, w: Weights, grad_w: Sequence[Tensor], keep: bool) -> State:
    """The gradients of ``inputs`` from those of ``outputs``; those of ``w`` are added to ``grad_w``.

    Args:
        keep: whether other steps share a part of the graph between ``w`` and ``outputs``.
    """
    pairs = [(end, g) for end, g in zip(outputs, gradients, strict=True) if end.requires_grad]
    found = [None] * (len(inputs) + len(w))
    if pairs:
        ends, weights = zip(*pairs, strict=True)
        found = torch.autograd.grad(ends, (*inputs, *w), weights, allow_unused=True, retain_graph=keep)
    for total, part in zip(grad_w, found[len(inputs) :], strict=True):
        if part is not None:
            total += part
    return tuple(torch.zeros_like(x) if g is None else g for x, g in zip(inputs, found, strict=False))


def advance(x: State, h: float | Tensor, weights: Sequence[float | Tensor], slopes: Sequence[State]) -> State:
    """x + h Σ w_i k_i."""
    return tuple(part + step for part, step in zip(x, combine(h, weights, slopes), strict=True))


def combine(h: float | Tensor, weights: Sequence[float | Tensor], slopes: Sequence[State]) -> State:
    """h Σ w_i k_i, summed before it meets x: so float32 rounds x once."""
    used = [(w, k) for w, k in zip(weights, slopes, strict=False) if not (isinstance(w, float) and w == 0)]
    found = []
    for i in range(len(slopes[0])):
        length = _like(h, slopes[0][i])
        total = None
        if isinstance(length, Tensor):
            numbers = [w for w, _ in used if isinstance(w, float)]
            if len(numbers) == len(used):
                found.append(length * _weighted(numbers, [k[i] for _, k in used]))
                continue
        for w, k in used:
            if isinstance(length, float) and isinstance(w, float):
                total = k[i] * (length * w) if total is None else torch.add(total, k[i], alpha=length * w)
            else:
                term = k[i] * (length * _like(w, k[i]))
                total = term if total is None else total + term
        found.append(total)
    return tuple(found)


def _weighted(weights: Sequence[float], parts: Sequence[Tensor]) -> Tensor:
    total = parts[0] * weights[0]
    for w, part in zip(weights[1:], parts[1:], strict=True):
        total = torch.add(total, part, alpha=w)
    return total


def clock(t: float | Tensor, x: State) -> Tensor:
    """The time as the right-hand side sees it."""
    dtype = real(x[0].dtype)
    if isinstance(t, Tensor):
        return t.to(dtype).reshape(-1, *[1] * (x[0].dim() - 1)) if t.dim() else t.to(dtype)
    return torch.full((), t, dtype=dtype, device=x[0].device)


def real(dtype: torch.dtype) -> torch.dtype:
    """The type of a state's times and norms.

    Raises:
        ValueError: for integers, which have no time between two of them.
    """
    if dtype.is_floating_point:
        return dtype
    if dtype.is_complex:
        return dtype.to_real()
    raise ValueError(f"x0: must be floating-point or complex, not {dtype}")


def _like(value: float | Tensor, part: Tensor) -> float | Tensor:
    """A number as it is; one for every sample, shaped to multiply ``part``."""
    if not isinstance(value, Tensor):
        return value
    return value.to(real(part.dtype)).reshape(-1, *[1] * (part.dim() - 1))
