"""One Runge-Kutta step on a kernel as one compiled function, and its gradient as another.

The loop stays what it is: it asks for a step, and looks at its error. A step's stages, its error and its interpolation
become one function of tensors, which ``torch.compile`` fuses; backward, the stages are evaluated again from their
inputs, in one function with the products. Either is compiled once for each field, method, shape and precision.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import cast

import torch
from torch import Tensor
from torch.fx.experimental.proxy_tensor import make_fx

from ncode.fields.kernels import Kernel
from ncode.solvers.kernel_step import KernelStep, Numbers
from ncode.solvers.step import Weights
from ncode.solvers.tableaus import Tableau

KEPT = 64
"""Compiled functions that are kept."""


class CompiledStep(KernelStep):
    """As :class:`KernelStep`, compiled."""

    # A solve's steps share their shapes.
    _forward: Callable | None = None
    _backward: Callable | None = None

    def start(self, t: float, x: Tensor, w: Weights) -> Tensor:
        k1 = super().start(t, x, w)
        self._started.clear()
        return k1

    def __call__(self, t: float, x: Tensor, k1: Tensor, h: float, tol: Numbers | None, w: Weights) -> tuple:
        rtol, atol = tol or (1.0, 1.0)
        inputs = (x, k1, _number(t, x), _number(h, x), _number(rtol, x), _number(atol, x), *w)
        if self._forward is None:
            self._forward = _forward(self.tableau, _Recipe(self.kernel), inputs)
        y, errors, *rest = self._forward(*inputs)
        n = len(self.tableau.a) - 1
        stages, slopes = rest[:n], rest[n:]
        k_last = slopes[-1] if self.fsal else None
        kept = torch.stack([k1, *slopes]) if self.dense else None
        return y, k_last, None if tol is None else errors, (stages if self.keep else [], kept)

    def back(self, taken, grad_y, grad_k_last, w, grad_w, grad_slopes=None):
        x = taken.x
        if grad_slopes is None:
            grad_slopes = x.new_zeros(self.tableau.stages, *x.shape)
        if self.fsal and grad_k_last is not None:
            grad_slopes[-1] += grad_k_last
        wanted = tuple(part is not None for part in grad_w)
        sums = tuple(part for part in grad_w if part is not None)
        numbers = (_number(taken.t, x), _number(taken.h, x))
        inputs = (grad_y.contiguous(), grad_slopes, *numbers, *taken.stages[0], *w, *sums)
        if self._backward is None:
            self._backward = _backward(self.tableau, _Recipe(self.kernel), wanted, inputs)
        return self._backward(*inputs)

    def back_start(self, t, x, grad_k1, w, grad_w):
        self._bind(w, x)
        self._gradients(grad_w)
        saved = self.kernel.f(t, x, torch.empty_like(x))
        out = torch.empty_like(x)
        self.kernel.vjp(saved, grad_k1, out)
        return out


class _Recipe:
    """A kernel by what its arithmetic depends on, apart from numbers: kernels of one recipe share what is compiled."""

    def __init__(self, kernel: Kernel):
        self.kernel, self.key = kernel, kernel.recipe()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Recipe) and self.key == other.key

    def __hash__(self) -> int:
        return hash(self.key)


def _number(value: float, like: Tensor) -> Tensor:
    return torch.tensor(value, dtype=like.dtype, device=like.device)


def _shapes(inputs: Sequence[Tensor]) -> tuple:
    return tuple((tuple(part.shape), part.stride(), part.dtype, part.device) for part in inputs)


_compiled: dict[tuple, Callable] = {}


def _once(key: tuple, function: Callable, inputs: Sequence[Tensor]) -> Callable:
    """``function``, compiled for inputs of these shapes.

    Raises:
        RuntimeError: where nothing can be compiled here.
    """
    key = (*key, _shapes(inputs))
    if key not in _compiled:
        while len(_compiled) >= KEPT:
            _compiled.pop(next(iter(_compiled)))
        # A graph of its own has a cache of its own: many shapes do not exhaust one function's.
        example = [part.clone() for part in inputs]
        try:
            with torch.no_grad():
                # A path or weights instead of a function come only of options that are not given here.
                compiled = cast(Callable, torch._inductor.compile(make_fx(function)(*example), [*example]))
                compiled(*example)
        except Exception as error:
            raise RuntimeError(
                f"compiled: torch.compile failed, which needs a C++ compiler, or Triton on a GPU: {error}. Use "
                "Solver(compiled=False)"
            ) from error
        _compiled[key] = compiled
    return _compiled[key]


def _forward(tableau: Tableau, recipe: _Recipe, inputs: Sequence[Tensor]) -> Callable:
    kernel = recipe.kernel

    def step(x, k1, t, h, rtol, atol, *w):
        slopes, stages, y = [k1], [], x
        for c, row in zip(tableau.c[1:], tableau.a[1:], strict=True):
            y = x + h * _sum(row, slopes)
            stages.append(y)
            slopes.append(kernel.velocity(t + c * h, y, w, compiled=True))
        if not tableau.fsal:
            y = x + h * _sum(tableau.b, slopes)
        errors = x.new_zeros(())
        if tableau.error:
            allowed = atol + rtol * torch.maximum(x.abs(), y.abs())
            errors = kernel.rms((h * _sum(tableau.error, slopes) / allowed).square())
        # What comes out must share no memory with what else does.
        return (y.clone(), errors, *stages, *slopes[1:])

    return _once(("forward", tableau, recipe.key), step, inputs)


def _backward(tableau: Tableau, recipe: _Recipe, wanted: tuple[bool, ...], inputs: Sequence[Tensor]) -> Callable:
    kernel, n, m = recipe.kernel, len(tableau.a) - 1, len(wanted)
    rows = [*tableau.a[1:], *(() if tableau.fsal else (tableau.b,))]

    def back(grad_y, grad_slopes, t, h, *rest):
        stages, w, sums = rest[:n], rest[n : n + m], rest[n + m :]
        # Of y, and before it of ever earlier stages' inputs.
        grads: list[Tensor] = [grad_y]
        totals: list[Tensor | None] | None = None
        for i in range(n - 1, -1, -1):
            # Of slope i + 1: from all inputs that it goes into.
            later = [row[i + 1] for row in rows[i + 1 :]]
            g = grad_slopes[i + 1]
            if later:
                g = g + h * _sum(later, grads)
            to_x, pieces = kernel.products(t + tableau.c[i + 1] * h, stages[i], w, g)
            # Where the last stage is evaluated at y, its input is y.
            grads = [to_x, *grads] if later else [grad_y + to_x]
            totals = pieces if totals is None else [_plus(old, new) for old, new in zip(totals, pieces, strict=True)]
        found = kernel.gathered(totals, w) if totals else [torch.zeros_like(part) for part in w]
        needed = [total for total, need in zip(found, wanted, strict=True) if need]
        for kept, total in zip(sums, needed, strict=True):
            kept.add_(total)
        grad_k1 = grad_slopes[0] + h * _sum([row[0] for row in rows], grads)
        return functools.reduce(torch.add, grads), grad_k1

    return _once(("backward", tableau, recipe.key, wanted), back, inputs)


def _plus(a: Tensor | None, b: Tensor | None) -> Tensor | None:
    return None if a is None or b is None else a + b


def _sum(weights: Sequence[float], parts: Sequence[Tensor]) -> Tensor:
    return functools.reduce(torch.add, [w * part for w, part in zip(weights, parts, strict=False) if w != 0])
