"""One layer y = W x + c of a perceptron on buffers, in four layouts: W shared or by sample, the batch last or first."""

from __future__ import annotations

import torch
from torch import Tensor

FEW = 4
"""Sums over at most so many terms are written out: one fused operation a term, instead of a product and a sum."""


class Shared:
    """y = W x + c with one W for all samples; c shared, by sample, or absent. The batch is last."""

    def __init__(self, weight: Tensor, bias: Tensor | None, scratch: dict):
        self.weight = weight
        self.bias = bias if bias is None or bias.dim() == 2 else bias.unsqueeze(1)

    def forward(self, x: Tensor, out: Tensor) -> None:
        if self.bias is None:
            torch.mm(self.weight, x, out=out)
        else:
            torch.addmm(self.bias, self.weight, x, out=out)

    def gradients(self, weight: Tensor | None, bias: Tensor | None) -> None:
        self.grad_weight, self.grad_bias = weight, bias

    def backward(self, x: Tensor, g: Tensor, out: Tensor) -> None:
        if self.grad_weight is not None:
            self.grad_weight.addmm_(g, x.t())
        if self.grad_bias is not None:
            self.grad_bias.add_(g if self.grad_bias.dim() == 2 else g.sum(1))
        torch.mm(self.weight.t(), g, out=out)

    def finish(self) -> None:
        pass


class BySample:
    """y_b = W_b x_b + c_b, entry by entry: W (outputs, inputs, batch); c (outputs, batch), (outputs), or absent."""

    def __init__(self, weight: Tensor, bias: Tensor | None, scratch: dict):
        self.weight = weight
        self.bias = bias if bias is None or bias.dim() == 2 else bias.unsqueeze(1)
        outputs, inputs, _ = weight.shape
        self.columns = weight.unbind(1) if inputs <= FEW else None
        self.rows = weight.unbind(0) if outputs <= FEW else None
        if not (self.columns and self.rows):
            if weight.shape not in scratch:
                scratch[weight.shape] = torch.empty_like(weight)
            self.products = scratch[weight.shape]

    def forward(self, x: Tensor, out: Tensor) -> None:
        if self.columns is None:
            torch.sum(torch.mul(self.weight, x, out=self.products), 1, out=out)
            if self.bias is not None:
                out.add_(self.bias)
            return
        first, *others = zip(self.columns, x.unbind(0), strict=True)
        torch.mul(*first, out=out) if self.bias is None else torch.addcmul(self.bias, *first, out=out)
        for column, feature in others:
            out.addcmul_(column, feature)

    def gradients(self, weight: Tensor | None, bias: Tensor | None) -> None:
        self.grad_weight, self.grad_bias = weight, bias

    def backward(self, x: Tensor, g: Tensor, out: Tensor) -> None:
        if self.grad_weight is not None:
            self.grad_weight.addcmul_(g.unsqueeze(1), x)
        if self.grad_bias is not None:
            self.grad_bias.add_(g if self.grad_bias.dim() == 2 else g.sum(1))
        if self.rows is None:
            torch.sum(torch.mul(self.weight, g.unsqueeze(1), out=self.products), 0, out=out)
            return
        first, *others = zip(self.rows, g.unbind(0), strict=True)
        torch.mul(*first, out=out)
        for row, part in others:
            out.addcmul_(row, part)

    def finish(self) -> None:
        pass


class SharedFirst:
    """y = x Wᵀ + c with one W for all samples; c shared, by sample, or absent. The batch is first."""

    def __init__(self, weight: Tensor, bias: Tensor | None, scratch: dict):
        self.weight, self.bias = weight, bias

    def forward(self, x: Tensor, out: Tensor) -> None:
        if self.bias is None:
            torch.mm(x, self.weight.t(), out=out)
        else:
            torch.addmm(self.bias, x, self.weight.t(), out=out)

    def gradients(self, weight: Tensor | None, bias: Tensor | None) -> None:
        self.grad_weight, self.grad_bias = weight, bias

    def backward(self, x: Tensor, g: Tensor, out: Tensor) -> None:
        if self.grad_weight is not None:
            self.grad_weight.addmm_(g.t(), x)
        if self.grad_bias is not None:
            self.grad_bias.add_(g if self.grad_bias.dim() == 2 else g.sum(0))
        torch.mm(g, self.weight, out=out)

    def finish(self) -> None:
        pass


class BySampleFirst:
    """y_b = W_b x_b + c_b by batched matrix products: W (batch, outputs, inputs); c by sample, shared, or absent.

    W's gradient Σ g xᵀ over all stages of a solve is one product of what they collect.
    """

    def __init__(self, weight: Tensor, bias: Tensor | None, scratch: dict):
        self.weight = weight
        self.transposed = weight.transpose(1, 2)
        self.bias = bias if bias is None else bias.unsqueeze(-1)
        self.collected: list[tuple[Tensor, Tensor]] = []

    def forward(self, x: Tensor, out: Tensor) -> None:
        if self.bias is None:
            torch.bmm(self.weight, x.unsqueeze(2), out=out.unsqueeze(2))
        else:
            torch.baddbmm(self.bias, self.weight, x.unsqueeze(2), out=out.unsqueeze(2))

    def gradients(self, weight: Tensor | None, bias: Tensor | None) -> None:
        self.grad_weight, self.grad_bias = weight, bias
        self.collected = []

    def backward(self, x: Tensor, g: Tensor, out: Tensor) -> None:
        if self.grad_weight is not None:
            self.collected.append((g.clone(), x))
        if self.grad_bias is not None:
            self.grad_bias.add_(g if self.grad_bias.dim() == 2 else g.sum(0))
        torch.bmm(self.transposed, g.unsqueeze(2), out=out.unsqueeze(2))

    def finish(self) -> None:
        if self.collected and self.grad_weight is not None:
            upstream, inputs = zip(*self.collected, strict=True)
            self.grad_weight.baddbmm_(torch.stack(upstream, 2), torch.stack(inputs, 1))
        self.collected = []
