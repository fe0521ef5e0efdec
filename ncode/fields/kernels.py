"""Perceptron fields as plain arithmetic with vector-Jacobian products of their own: what a solve's inner loop runs.

Autograd's record of one evaluation of a small field costs several times its arithmetic. A kernel takes its place: bound
once a solve to weights laid out as it computes fastest in, it fills buffers that it is handed, and knows its own
gradient. Where every matrix is small, the batch is the last dimension, so that the inner loops run over samples;
larger matrices of a sample's own are batched matrix products with the batch first, and their gradients are collected
over a solve's stages into one product.
"""

from __future__ import annotations

import itertools
import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol, runtime_checkable

import torch
from torch import Tensor, nn
from torch._C._functorch import peek_interpreter_stack
from torch.autograd import forward_ad
from torch.nn import functional as F
from torch.nn.modules import module as _modules

aten = torch.ops.aten

SMALL = 256
"""Matrices of a sample's own with at most so many entries are applied entry by entry, the batch last."""
FEWEST = 16
"""Samples from which on the batch is worth being last."""
FEW = 4
"""Sums over at most so many terms are written out: one fused operation a term, instead of a product and a sum."""


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


def _tanh(h: Tensor) -> Tensor:
    e = torch.expm1((2 * h).clamp(max=80.0))
    return e / (e + 2)


def _same(h: Tensor) -> Tensor:
    return h


def tanh_(h: Tensor) -> Tensor:
    """tanh in place, as expm1(2h) / (expm1(2h) + 2): half ``torch.tanh``'s time, and within three units of rounding."""
    # Beyond it expm1 overflows, and tanh is 1.
    h.mul_(2).clamp_(max=80.0).expm1_()
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


@runtime_checkable
class Kernel(Protocol):
    """A right-hand side z' = f(t, z) on one buffer z, with its own vector-Jacobian product, bound to one solve.

    Attributes:
        weights: what f reads besides t and z and what gets a gradient, in the kernel's own layout: differentiable
            functions of the model's tensors.
    """

    weights: tuple[Tensor, ...]

    def pack(self, state: Sequence[Tensor]) -> Tensor:
        """The state's parts, each with the batch first, as one contiguous z; differentiable."""
        ...

    def unpack(self, z: Tensor) -> tuple[Tensor, ...]:
        """The reverse of :meth:`pack`; z may have further dimensions before its own."""
        ...

    def rms(self, squares: Tensor) -> Tensor:
        """The root mean square of every part and sample, (parts, batch), from the squares of z's entries."""
        ...

    def velocity(self, t: Tensor, z: Tensor, w: Sequence[Tensor], compiled: bool = False) -> Tensor:
        """f for weights ``w``, in differentiable operations or in those that a compiler makes fast."""
        ...

    def recipe(self) -> tuple:
        """All that :meth:`velocity` and :meth:`products` depend on besides their arguments."""
        ...

    def products(self, t: Tensor, z: Tensor, w: Sequence[Tensor], g: Tensor) -> tuple[Tensor, list[Tensor | None]]:
        """g ∂f/∂z, and g ∂f/∂w in pieces, as expressions for a compiler."""
        ...

    def gathered(self, pieces: Sequence[Tensor | None], w: Sequence[Tensor]) -> list[Tensor]:
        """The weights' gradients from the sums of their pieces."""
        ...

    def bind(self, w: Sequence[Tensor], like: Tensor) -> None:
        """Take the weights of the evaluations that follow; ``like`` is some z."""

    def bind_gradients(self, gw: Sequence[Tensor | None]) -> None:
        """Take the buffers that gradients of weights are added to; ``None`` where none is wanted."""

    def f(self, t: float, z: Tensor, out: Tensor) -> object:
        """Fill ``out`` with the velocity; what :meth:`vjp` needs comes back. z is kept and must not change."""

    def vjp(self, saved: object, g: Tensor, out: Tensor) -> None:
        """Fill ``out`` with g ∂f/∂z, and add g ∂f/∂w to the weights' gradients."""

    def finish(self) -> None:
        """Add what was collected over several calls of :meth:`vjp` to the weights' gradients."""


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


def perceptron(
    plan: Sequence[Layer] | None,
    rest: Sequence[Tensor],
    activation: Callable[[Tensor], Tensor] | None,
    x: Tensor,
    theta: Tensor | None = None,
    u: Tensor | None = None,
    timed: bool = False,
    moving: bool = False,
) -> Perceptron | None:
    """The kernel of a perceptron in the layout that suits its sizes; ``None`` where it has none.

    Args:
        x: the initial state, (batch, dim).
        theta, u: (batch, …), as of :class:`Perceptron`; the other arguments, too.
    """
    if plan is None or (len(plan) > 1 and activation not in ACTIVATIONS):
        return None
    read = [part for part in (theta, u, *rest) if part is not None]
    if not all(_ordinary(part) and (part.dtype, part.device) == (x.dtype, x.device) for part in read):
        return None
    steered = [layer.weight.shape for layer in plan if layer.weight.start is not None]
    small = len(x) >= FEWEST and all(torch.Size(shape).numel() <= SMALL for shape in steered)
    if moving and not small:
        return None
    if all(part is None or part.start is None for layer in plan for part in layer):
        # θ fills the slot u and nothing else.
        theta = None
    # What the first layer reads besides x and t.
    shape = plan[0].weight.shape[1] - x.shape[1] - timed
    if shape != (0 if u is None else u.shape[1]):
        return None
    chosen = LINEAR if activation is None else ACTIVATIONS.get(activation, LINEAR)
    return Perceptron(plan, chosen, None if moving else theta, rest, u, timed, small or not steered, moving)


def plan(
    module: nn.Module, names: Sequence[tuple[str, str | None]], steered: Mapping[str, tuple[int, ...]]
) -> tuple[list[Layer] | None, list[Tensor]]:
    """Every layer's parts, from the names of its weight and bias; and the weights among them that are not steered.

    Args:
        steered: the shapes of those that are.
    """
    layers: list[Layer] = []
    rest: list[Tensor] = []
    start = starts(steered)

    def part(name: str | None) -> Part | None:
        if name is None:
            return None
        if name in start:
            return Part(steered[name], start[name], -1)
        value: Tensor | None = operator.attrgetter(name)(module)
        if value is None:
            return None
        rest.append(value)
        return Part(tuple(value.shape), None, len(rest) - 1)

    for pair in names:
        weight, bias = map(part, pair)
        if weight is None or len(weight.shape) != 2:
            return None, []
        layers.append(Layer(weight, bias))
    return layers, rest


def starts(steered: Mapping[str, Sequence[int]]) -> dict[str, int]:
    """Where every steered parameter begins in θ."""
    sizes = [torch.Size(shape).numel() for shape in steered.values()]
    return dict(zip(steered, itertools.accumulate(sizes, initial=0), strict=False))


def plain(module: nn.Module, x: Tensor) -> bool:
    """Whether calling ``module`` on ``x`` would do what its class's ``forward`` says, in ordinary arithmetic.

    Hooks, transforms of ``torch.func``, forward-mode derivatives, autocast and compilers change that, or have to see
    every operation.
    """
    hooks = (module._forward_hooks, module._forward_pre_hooks, module._backward_hooks, module._backward_pre_hooks)
    everywhere = (_modules._global_forward_hooks, _modules._global_forward_pre_hooks, _modules._global_backward_hooks)
    if any(hooks) or any(everywhere) or "forward" in vars(module) or not _ordinary(x):
        return False
    if torch.compiler.is_compiling() or torch.is_autocast_enabled(x.device.type):
        return False
    return peek_interpreter_stack() is None and forward_ad._current_level < 0


def _ordinary(value: Tensor) -> bool:
    """Whether it is a dense real tensor and no subclass's."""
    return type(value) in (Tensor, nn.Parameter) and value.is_floating_point() and value.layout is torch.strided


class Coupled:
    """(x, θ)' = (f(t, x; θ), g(x, θ)): the closed loop, a :class:`Kernel` whose z is x above θ, the batch last.

    Args:
        field: with its steered weights in θ and only the others among its :attr:`~Kernel.weights`.
        g: reads all of z, and gives θ's rows.
        dim, control: how many rows are x's and θ's.
    """

    def __init__(self, field: Kernel, g: Kernel, dim: int, control: int):
        self.field, self.g, self.sizes = field, g, [dim, control]
        self.weights = (*field.weights, *g.weights)

    def pack(self, state):
        return torch.cat([part.t() for part in state]).contiguous()

    def unpack(self, z):
        return tuple(part.transpose(-1, -2) for part in z.split(self.sizes, dim=-2))

    def rms(self, squares):
        return torch.stack([part.mean(0) for part in squares.split(self.sizes)]).sqrt()

    def velocity(self, t, z, w, compiled=False):
        x, theta = z.split(self.sizes)
        n = len(self.field.weights)
        dx = self.field.velocity(t, x, (theta, *w[:n]), compiled)
        return torch.cat([dx, self.g.velocity(t, z, w[n:], compiled)])

    def products(self, t, z, w, g):
        (x, theta), (up, control), n = z.split(self.sizes), g.split(self.sizes), len(self.field.weights)
        dz, of_g = self.g.products(t, z, w[n:], control)
        dx, of_field = self.field.products(t, x, (theta, *w[:n]), up)
        dtheta, *rest = self.field.gathered(of_field, (theta, *w[:n]))
        return dz + torch.cat([dx, dtheta]), [*rest, *of_g]

    def gathered(self, pieces, w):
        n = len(self.field.weights)
        return [*pieces[:n], *self.g.gathered(pieces[n:], w[n:])]

    def recipe(self):
        return self.field.recipe(), self.g.recipe(), tuple(self.sizes)

    def bind(self, w, like):
        n = len(self.field.weights)
        self.w, self.buffer = w[:n], like.new_empty(self.sizes[0], like.shape[1])
        self.g.bind(w[n:], like)

    def bind_gradients(self, gw):
        n = len(self.field.weights)
        self.gw = gw[:n]
        self.g.bind_gradients(gw[n:])

    def f(self, t, z, out):
        (x, theta), (dx, dtheta) = z.split(self.sizes), out.split(self.sizes)
        self.field.bind((theta, *self.w), x)
        return theta, self.field.f(t, x, dx), self.g.f(t, z, dtheta)

    def vjp(self, saved, g, out):
        theta, of_field, of_g = saved
        (up, control), (dx, dtheta) = g.split(self.sizes), out.split(self.sizes)
        self.g.vjp(of_g, control, out)
        self.field.bind((theta, *self.w), up)
        self.field.bind_gradients((dtheta, *self.gw))
        self.field.vjp(of_field, up, self.buffer)
        dx.add_(self.buffer)

    def finish(self):
        self.g.finish()
