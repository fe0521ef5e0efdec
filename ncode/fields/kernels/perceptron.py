"""The kernel of perceptrons and of linear fields."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ncode.fields.kernels.activations import Activation
from ncode.fields.kernels.layers import BySample, BySampleFirst, Shared, SharedFirst


class Part(NamedTuple):
    """Where a weight lies: in the steered θ from ``start`` on, or, where that is ``None``, at ``index`` of the rest."""

    shape: tuple[int, ...]
    start: int | None
    index: int

    def find(self, theta: Tensor | None, rest: Sequence[Tensor | None], batch_last: bool) -> Tensor | Any:
        """The weight; its gradient where ``theta`` and ``rest`` hold gradients, ``None`` where none is wanted."""
        if self.start is None:
            return rest[self.index]
        if theta is None:
            return None
        end = self.start + torch.Size(self.shape).numel()
        if batch_last:
            return theta[self.start : end].view(*self.shape, -1)
        return theta[:, self.start : end].view(-1, *self.shape)


class Layer(NamedTuple):
    """One layer's weight and bias, by where they lie; the bias may be absent."""

    weight: Part
    bias: Part | None


class Perceptron:
    """f(t, x) = W_L σ(… σ(W_1 [x : t : u] + c_1) …) + c_L: a :class:`Kernel` for perceptrons and linear fields.

    Args:
        layers: where their weights lie.
        activation: the function σ.
        theta: the steered ones among them, by sample; ``None`` where there are none.
        rest: the others.
        u: a constant input a sample.
        timed: whether the first layer reads t.
        batch_last: which layout. Small matrices of a sample's own want the batch last, large ones first.
        moving: θ moves along the path: :meth:`bind` is handed it first, and it is none of :attr:`weights`.
    """

    def __init__(
        self,
        layers: Sequence[Layer],
        activation: Activation,
        theta: Tensor | None = None,
        rest: Sequence[Tensor] = (),
        u: Tensor | None = None,
        timed: bool = False,
        batch_last: bool = True,
        moving: bool = False,
    ):
        self.plan, self.activation, self.timed, self.batch_last = layers, activation, timed, batch_last
        self.has_theta, self.has_u = moving or theta is not None, u is not None
        self.weights = (*(self._laid_out(part) for part in (theta, u) if part is not None), *rest)
        self.axis = 0 if batch_last else 1
        self.dim = layers[-1].weight.shape[0]
        self.wide = timed or self.has_u
        self.work: list[Tensor] = []
        self.scratch: dict = {}

    def pack(self, state):
        return self._laid_out(state[0])

    def unpack(self, z):
        return (z.transpose(-1, -2) if self.batch_last else z,)

    def rms(self, squares):
        return squares.mean(self.axis).sqrt().unsqueeze(0)

    def velocity(self, t, z, w, compiled=False):
        theta, u, rest = self._split(w)
        activate = self.activation.value if compiled else self.activation.function
        x = self._widened_by(t, z, u)
        for i, layer in enumerate(self.plan):
            x = self._linear(layer, x if i == 0 else activate(x), theta, rest)
        return x

    def products(self, t, z, w, g):
        theta, u, rest = self._split(w)
        inputs, slopes = [self._widened_by(t, z, u)], []
        for layer in self.plan[:-1]:
            h = self._linear(layer, inputs[-1], theta, rest)
            y = self.activation.value(h)
            inputs.append(y)
            slopes.append(self.activation.slope(h, y))
        pieces: list[Tensor | None] = []
        for i in range(len(self.plan) - 1, -1, -1):
            layer = self.plan[i]
            bias = None if layer.bias is None else layer.bias.find(theta, rest, self.batch_last)
            of_weight, g_in = self._pulled(layer.weight.find(theta, rest, self.batch_last), inputs[i], g)
            of_bias = g if bias is None or bias.dim() == 2 else g.sum(1 - self.axis)
            pieces += [of_weight, None if bias is None else of_bias]
            g = g_in * slopes[i - 1] if i else g_in
        pieces.append(None if u is None else self._inputs(g))
        return g.narrow(self.axis, 0, self.dim) if self.wide else g, pieces

    def gathered(self, pieces, w):
        theta, u, rest = self._split(w)
        *pieces, of_u = pieces
        found = [None] * len(rest)
        rows: dict[int, Tensor] = {}
        for parts, at in zip(reversed(self.plan), range(0, len(pieces), 2), strict=True):
            for part, piece in zip(parts, pieces[at : at + 2], strict=True):
                if part is None:
                    continue
                if part.start is None:
                    found[part.index] = piece
                else:
                    rows[part.start] = piece.flatten(0, -2) if self.batch_last else piece.flatten(1)
        return [*self._whole(rows, theta), *([] if u is None else [of_u]), *found]

    def _whole(self, rows: dict[int, Tensor], theta: Tensor | None) -> list[Tensor]:
        """θ's gradient from its rows' by where they begin; rows that no layer reads have none."""
        if theta is None:
            return []
        parts, at = [], 0
        for start in [*sorted(rows), theta.shape[self.axis]]:
            if start > at:
                parts.append(torch.zeros_like(theta.narrow(self.axis, at, start - at)))
            if start in rows:
                parts.append(rows[start])
                at = start + rows[start].shape[self.axis]
        return [torch.cat(parts, self.axis)]

    def _pulled(self, weight: Tensor, x: Tensor, g: Tensor) -> tuple[Tensor, Tensor]:
        """The gradients of W and of x in W x."""
        if self.batch_last:
            if weight.dim() == 2:
                return g @ x.t(), weight.t() @ g
            return g.unsqueeze(1) * x, (weight * g.unsqueeze(1)).sum(0)
        if weight.dim() == 2:
            return g.t() @ x, g @ weight
        return g.unsqueeze(2) * x.unsqueeze(1), torch.bmm(weight.transpose(1, 2), g.unsqueeze(2)).squeeze(2)

    def recipe(self):
        return tuple(self.plan), self.activation, self.timed, self.batch_last, self.has_theta, self.has_u

    def bind(self, w, like):
        theta, self.u, rest = self._split(w)
        self.layers = []
        for weight, bias in self.plan:
            shared = weight.start is None
            kind = (Shared if shared else BySample) if self.batch_last else (SharedFirst if shared else BySampleFirst)
            found = None if bias is None else bias.find(theta, rest, self.batch_last)
            self.layers.append(kind(weight.find(theta, rest, self.batch_last), found, self.scratch))
        if not self.work:
            # One buffer for the gradient of every layer's input.
            batch = like.shape[1 - self.axis]
            for layer in self.plan:
                width = layer.weight.shape[1]
                self.work.append(like.new_empty((width, batch) if self.batch_last else (batch, width)))

    def bind_gradients(self, gw):
        theta, self.grad_u, rest = self._split(gw)
        for layer, (weight, bias) in zip(self.layers, self.plan, strict=True):
            found = None if bias is None else bias.find(theta, rest, self.batch_last)
            layer.gradients(weight.find(theta, rest, self.batch_last), found)

    def f(self, t, z, out):
        x = self._widened(t, z) if self.wide else z
        saved = []
        for layer, work in zip(self.layers, self.work[1:], strict=False):
            h = torch.empty_like(work)
            layer.forward(x, h)
            y = self.activation.apply(h)
            saved.append((x, y if self.activation.by_value else h))
            x = y
        self.layers[-1].forward(x, out)
        saved.append((x, None))
        return saved

    def vjp(self, saved, g, out):
        for i in range(len(self.layers) - 1, 0, -1):
            self.layers[i].backward(saved[i][0], g, self.work[i])
            g = self.activation.back(self.work[i], saved[i - 1][1])
        if not self.wide:
            self.layers[0].backward(saved[0][0], g, out)
            return
        whole = self.work[0]
        self.layers[0].backward(saved[0][0], g, whole)
        out.copy_(whole.narrow(self.axis, 0, self.dim))
        if self.grad_u is not None:
            self.grad_u.add_(self._inputs(whole))

    def finish(self):
        for layer in self.layers:
            layer.finish()

    def _laid_out(self, part: Tensor) -> Tensor:
        return (part.t() if self.batch_last else part).contiguous()

    def _split(self, w: Sequence) -> tuple:
        """θ, u and the rest."""
        theta = w[0] if self.has_theta else None
        u = w[self.has_theta] if self.has_u else None
        return theta, u, w[self.has_theta + self.has_u :]

    def _widened_by(self, t: Tensor, x: Tensor, u: Tensor | None) -> Tensor:
        """[x : t : u], differentiable."""
        parts = [x]
        if self.timed:
            parts.append(t.expand_as(x.narrow(self.axis, 0, 1)))
        if u is not None:
            parts.append(u)
        return torch.cat(parts, self.axis) if self.wide else x

    def _widened(self, t: float, x: Tensor) -> Tensor:
        wide = torch.empty_like(self.work[0])
        wide.narrow(self.axis, 0, self.dim).copy_(x)
        if self.timed:
            wide.narrow(self.axis, self.dim, 1).fill_(t)
        if self.has_u:
            self._inputs(wide).copy_(self.u)
        return wide

    def _inputs(self, wide: Tensor) -> Tensor:
        """u's place in the first layer's input."""
        size = wide.shape[self.axis] - self.dim - self.timed
        return wide.narrow(self.axis, self.dim + self.timed, size)

    def _linear(self, layer: Layer, x: Tensor, theta: Tensor | None, rest: Sequence[Tensor]) -> Tensor:
        weight = layer.weight.find(theta, rest, self.batch_last)
        if self.batch_last:
            y = weight @ x if weight.dim() == 2 else (weight * x).sum(1)
        else:
            y = x @ weight.t() if weight.dim() == 2 else torch.bmm(weight, x.unsqueeze(2)).squeeze(2)
        if layer.bias is None:
            return y
        bias = layer.bias.find(theta, rest, self.batch_last)
        return y + (bias.unsqueeze(1) if bias.dim() == 1 and self.batch_last else bias)
