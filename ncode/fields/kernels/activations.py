"""Activation functions as arithmetic on buffers, with their gradients."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

aten = torch.ops.aten


class Activation(NamedTuple):
    """σ as arithmetic on buffers.

    Attributes:
        function: σ, differentiable.
        apply: σ of a buffer that may be overwritten.
        back: its gradient, in place on what comes from above, from σ's value or its argument.
        value, slope: σ, and σ' from σ's argument and value, as expressions that a compiler makes fast.
        by_value: whether ``back`` takes σ's value.
    """

    function: Callable[[Tensor], Tensor]
    apply: Callable[[Tensor], Tensor]
    back: Callable[[Tensor, Tensor], Tensor]
    value: Callable[[Tensor], Tensor]
    slope: Callable[[Tensor, Tensor], Tensor]
    by_value: bool = True


def _most(h: Tensor) -> float:
    """Where tanh(h / 2) has long been 1 to the last digit, and expm1(h) + 2 has not overflown yet."""
    return 11.0 if h.dtype == torch.float16 else 80.0


def _tanh(h: Tensor) -> Tensor:
    e = torch.expm1((2 * h).clamp(max=_most(h)))
    return e / (e + 2)


def _same(h: Tensor) -> Tensor:
    return h


def tanh_(h: Tensor) -> Tensor:
    """tanh in place, as expm1(2h) / (expm1(2h) + 2): half ``torch.tanh``'s time, and within three units of rounding."""
    h.mul_(2).clamp_(max=_most(h)).expm1_()
    return h.div_(h + 2)


ACTIVATIONS = {
    known.function: known
    for known in (
        Activation(
            torch.tanh,
            tanh_,
            lambda g, y: aten.tanh_backward.grad_input(g, y, grad_input=g),
            value=_tanh,
            slope=lambda h, y: 1 - y * y,
        ),
        Activation(
            torch.relu,
            torch.relu_,
            lambda g, y: aten.threshold_backward.grad_input(g, y, 0, grad_input=g),
            value=torch.relu,
            slope=lambda h, y: (y > 0).to(y.dtype),
        ),
        Activation(
            F.softplus,
            F.softplus,
            lambda g, h: aten.softplus_backward.grad_input(g, h, 1, 20, grad_input=g),
            value=F.softplus,
            slope=lambda h, y: torch.sigmoid(h),
            by_value=False,
        ),
    )
}

LINEAR = Activation(_same, _same, lambda g, y: g, _same, lambda h, y: torch.ones_like(y))
"""σ(h) = h, which stands where a field has one layer and applies none."""
