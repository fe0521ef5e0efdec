"""The kernel that a field's sizes ask for, where it has one and nothing has to see its single operations."""

from __future__ import annotations

import itertools
import operator
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn.modules import module as _modules

from ncode.fields.kernels.activations import ACTIVATIONS, LINEAR
from ncode.fields.kernels.perceptron import Layer, Part, Perceptron
from ncode.tracing import transforming

SMALL = 256
"""Matrices of a sample's own with at most so many entries are applied entry by entry, the batch last."""
FEWEST = 16
"""Samples from which on the batch is worth being last."""


def perceptron(
    plan: Sequence[Layer] | None,
    rest: Sequence[Tensor],
    activation: Callable[[Tensor], Tensor] | None,
    x: Tensor,
    outputs: int,
    theta: Tensor | None = None,
    u: Tensor | None = None,
    timed: bool = False,
    moving: bool = False,
) -> Perceptron | None:
    """The kernel of a perceptron in the layout that suits its sizes; ``None`` where it has none.

    Args:
        x: the initial state, (batch, dim).
        theta, u: (batch, …), as of :class:`Perceptron`; the other arguments, too.
        outputs: how many numbers it must give: with others autograd's way says what is wrong.
    """
    if not plan or plan[-1].weight.shape[0] != outputs or (len(plan) > 1 and activation not in ACTIVATIONS):
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


def untouched(module: nn.Module, **methods: Callable) -> bool:
    """Whether calling ``module`` runs these methods, by name, and nothing besides: none is overridden, by its class or
    on itself, and there are no hooks."""
    if module._forward_hooks or module._forward_pre_hooks or module._backward_hooks or module._backward_pre_hooks:
        return False
    own, kind = vars(module), type(module)
    return all(name not in own and getattr(kind, name) is method for name, method in methods.items())


def untouched_linear(module: nn.Module) -> bool:
    """Whether calling ``module`` multiplies with its weight and adds its bias, parametrised or not, and no more."""
    return untouched(module, forward=nn.Linear.forward, __call__=nn.Module.__call__)


def plain(x: Tensor) -> bool:
    """Whether what is computed of ``x`` is ordinary arithmetic that nothing has to see.

    Hooks on all modules, transforms of ``torch.func``, forward-mode derivatives, autocast and compilers change that, or
    have to see every operation.
    """
    everywhere = (
        _modules._global_forward_hooks,
        _modules._global_forward_pre_hooks,
        _modules._global_backward_hooks,
        _modules._global_backward_pre_hooks,
    )
    if any(everywhere) or not _ordinary(x):
        return False
    if torch.compiler.is_compiling() or torch.is_autocast_enabled(x.device.type):
        return False
    return not transforming()


def _ordinary(value: Tensor) -> bool:
    """Whether it is a dense real tensor and no subclass's."""
    return type(value) in (Tensor, nn.Parameter) and value.is_floating_point() and value.layout is torch.strided
