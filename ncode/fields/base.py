"""Vector fields f(t, x, θ), the right-hand sides of x' = f(t, x, θ).

A field is an ordinary module with ordinary parameters. What makes it a *controllable* one is that any of its
parameters can be given from outside, per sample, under its name: those are the θ that a controller steers. The same
class therefore serves every model: a neural ODE steers none of them, N-CODE some or all.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from types import MappingProxyType

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch._guards import TracingContext

from ncode.arguments import arguments, instance, integers, optional
from ncode.fields import kernels
from ncode.fields.kernels import Kernel

Theta = Mapping[str, Tensor]
"""Steered parameters by name; each tensor has the batch as its first dimension."""

NOTHING: Theta = MappingProxyType({})
"""The θ that steers nothing."""


class Field(nn.Module):
    """Base of the vector fields f(t, x, θ).

    A subclass registers its parameters as usual and implements :meth:`forward`, where it takes each parameter with
    ``self.value(name, theta)``: the controller's value when it is steered, its own otherwise. A steered one arrives
    with the batch as its first dimension, one value a sample; :mod:`ncode.fields.per_sample` applies either. A scalar,
    of shape () or (1,), arrives as (batch, 1, …) with as many dimensions as x, so that it multiplies x sample by
    sample. A module such as ``nn.Linear``, called as it is, knows only its own parameters: a field that calls one whose
    parameter is steered is refused at its first evaluation. Modules with hooks or parametrisations on their parameters
    (``spectral_norm``) must be called, or wrapped whole (:class:`~ncode.fields.wrap.Wrapped`).

    The velocity must be a function of (t, x, θ) alone, of x's shape and dtype, and leave x as it is. Layers that are
    more than that do something else here than in a network. *Dropout* draws a new mask at every evaluation: the field
    is random, an adaptive solver finds errors that no step is small enough for and takes thousands of them, and the
    adjoint, which would differentiate other masks than the loss has seen, refuses it; draw one mask a solve instead,
    as γ may. *Batch normalisation* in training couples the samples of a batch, so that a path depends on its
    neighbours, and counts every evaluation into its running statistics, rejected steps included. Other state that the
    field keeps may change between solves, but under the adjoint not before the backward pass.

    Args:
        shape: the shape of one sample's state x; ``None`` where any will do.
        slots: inputs that only a controller can fill, as ``{name: shape}``: they have no value of the field's own.

    Example:
        >>> class Decay(Field):  # x' = -rate · x
        ...     def __init__(self):
        ...         super().__init__(shape=(1,))
        ...         self.rate = nn.Parameter(torch.ones(1))
        ...
        ...     def forward(self, t, x, theta):
        ...         return -self.value("rate", theta) * x
    """

    @arguments(shape=optional(integers(1)), slots=optional(instance(Mapping)))
    def __init__(self, shape: Sequence[int] | None, *, slots: Mapping[str, Sequence[int]] | None = None):
        super().__init__()
        self.shape: tuple[int, ...] | None = None if shape is None else tuple(shape)
        self.slots = {name: tuple(size) for name, size in (slots or {}).items()}
        self.steered: dict[str, tuple[int, ...]] = {}

    def __call__(self, t: Tensor | float, x: Tensor, theta: Theta = NOTHING) -> Tensor:
        """The velocity f(t, x, θ); nothing is steered where no ``theta`` is given."""
        if not isinstance(t, Tensor):
            if not (x.is_floating_point() or x.is_complex()):
                raise ValueError(f"x: must be floating-point or complex, not {x.dtype}: the time has its type")
            t = torch.as_tensor(t, dtype=x.dtype.to_real(), device=x.device)
        return super().__call__(t, x, theta)

    def forward(self, t: Tensor, x: Float[Tensor, "batch *state"], theta: Theta) -> Float[Tensor, "batch *state"]:
        """The velocity f(t, x, θ) at time ``t``, per sample."""
        raise NotImplementedError(f"{type(self).__name__} must implement forward(t, x, theta)")

    def bind(self, x: Tensor, theta: Tensor | None, u: Tensor | None = None, moving: bool = False) -> Kernel | None:
        """The field bound to one solve, as arithmetic with its own gradient; ``None`` where it has no such form.

        Args:
            x: the initial state, (batch, …).
            theta: the steered values, (batch, m); ``None`` where nothing is steered.
            u: what fills the slot ``u`` where it is not steered, (batch, …).
            moving: θ is a part of the state: only its layout counts.
        """
        return None

    def _computes(self, forward: Callable, **others: Callable) -> bool:
        """Whether calling the field runs this ``forward`` and these other methods of its, on values as they are, and
        nothing besides: what a kernel takes the place of."""
        return kernels.untouched(
            self, forward=forward, __call__=Field.__call__, value=Field.value, unpack=Field.unpack, **others
        )

    def extra_repr(self) -> str:
        steered = f", steered={', '.join(self.steered)}" if self.steered else ""
        return f"shape={self.shape}{steered}"

    def value(self, name: str, theta: Theta) -> Tensor:
        """The parameter called ``name``: the controller's when it is steered, otherwise the field's own.

        Raises:
            ValueError: when a hook sets it, which only a call of its module runs.
        """
        if name in theta:
            return theta[name]
        module, leaf = self._owner(name)
        if leaf not in module._parameters and module._forward_pre_hooks:
            raise ValueError(f"field: a hook sets {name}, which only a call of its module runs: call the module")
        return getattr(module, leaf)

    def names(self, patterns: str | Iterable[str] = "*") -> list[str]:
        """The names of the parameters and slots that match ``patterns`` (shell wildcards), in the field's order.

        Raises:
            ValueError: when a pattern matches none.
        """
        patterns = [patterns] if isinstance(patterns, str) else list(patterns)
        if not patterns:
            raise ValueError("steer: names nothing")
        known = [*self.steered, *(name for name, _ in self._root().named_parameters()), *self.slots]
        known = list(dict.fromkeys(known))
        for pattern in patterns:
            if not any(fnmatchcase(name, pattern) for name in known):
                raise ValueError(f"steer: {pattern!r} matches none of {', '.join(known)}")
        return [name for name in known if any(fnmatchcase(name, pattern) for pattern in patterns)]

    def size(self, patterns: str | Iterable[str] = "*") -> int:
        """m, the number of control variables of one sample when ``patterns`` are steered."""
        return sum(_numel(self._shape_of(name)) for name in self.names(patterns))

    def start(self, patterns: str | Iterable[str] = "*") -> Float[Tensor, " m"]:
        """The present values of what matches ``patterns``, as one vector: zero for a slot.

        It has the type and the device of the field's first parameter.

        Raises:
            ValueError: when a pattern matches nothing, a parameter has been released before, or it is tied: under its
                other name it would stay behind.
        """
        names = self.names(patterns)
        if taken := [name for name in names if name in self.steered]:
            raise ValueError(f"steer: {', '.join(taken)} already belongs to another model's controller")
        every = list(self._root().named_parameters(remove_duplicate=False))
        for name, other in itertools.permutations(every, 2):
            if name[0] in names and name[1] is other[1]:
                raise ValueError(f"steer: {name[0]} is tied to {other[0]}: a controller can steer neither")
        values = dict(every)
        like = every[0][1].detach() if every else torch.empty(0)
        parts = [
            like.new_zeros(_numel(self.slots[name])) if name in self.slots else values[name].detach().reshape(-1)
            for name in names
        ]
        return torch.cat([part.to(like) for part in parts])

    def release(self, patterns: str | Iterable[str] = "*") -> Float[Tensor, " m"]:
        """Hand parameters over to a controller, and return their present values as one vector.

        They stop being parameters of the field: a parameter has one owner, so an optimiser never sees a value
        that is not used. A parameter can be released once.

        Raises:
            ValueError: as :meth:`start`.
        """
        start = self.start(patterns)
        for name in self.names(patterns):
            self.steered[name] = self._shape_of(name)
            if name not in self.slots:
                module, leaf = self._owner(name)
                del module._parameters[leaf]
                setattr(module, leaf, Released(name))
        return start

    def unpack(self, theta: Float[Tensor, "batch m"]) -> dict[str, Tensor]:
        """θ's rows, cut into the steered parameters: each in its own shape, a scalar as (batch, 1, …) like x."""
        parts = theta.split([_numel(shape) for shape in self.steered.values()], dim=1)
        scalar = (1,) * len(self.shape or ())
        return {
            name: part.reshape(-1, *(scalar if shape in ((), (1,)) else shape))
            for (name, shape), part in zip(self.steered.items(), parts, strict=True)
        }

    def _root(self) -> nn.Module:
        """The module by whose names parameters are steered."""
        return self

    def _owner(self, name: str) -> tuple[nn.Module, str]:
        path, _, leaf = name.rpartition(".")
        return self._root().get_submodule(path), leaf

    def _shape_of(self, name: str) -> tuple[int, ...]:
        if name in self.steered:
            return self.steered[name]
        return self.slots[name] if name in self.slots else tuple(self._root().get_parameter(name).shape)


class Released(Tensor):
    """Stands where a parameter was that a controller has taken over: any use of it is an error that names it.

    :meta private:
    """

    called: str

    @staticmethod
    def __new__(cls, called: str) -> Released:
        held = torch.empty(0).as_subclass(cls)
        held.called = called
        return held

    @classmethod
    def __torch_function__(cls, func, types, args=(), kwargs=None):
        if TracingContext.try_get() is not None:
            # A compiler asks what kind of tensor it is, before functional_call puts a sample's own in its place.
            return super().__torch_function__(func, types, args, kwargs)
        found, left = [], [*args, *(kwargs or {}).values()]
        while left:
            one = left.pop()
            if isinstance(one, Released):
                found.append(one.called)
            elif isinstance(one, tuple | list):
                left += one
        raise ValueError(not_read(found))

    def __repr__(self) -> str:
        return f"Released({self.called!r})"

    def __deepcopy__(self, memo: dict) -> Released:
        return Released(self.called)

    def __reduce_ex__(self, protocol) -> tuple:
        return Released, (self.called,)


def not_read(names: Iterable[str]) -> str:
    """The message about steered parameters that a field does not read from θ."""
    return (
        f"field: never reads the steered {', '.join(sorted(names))} from θ: forward must take such a parameter with "
        "self.value(name, theta) and apply it with ncode.fields.per_sample, since a module called as it is knows only "
        "its own; or hand the model the module itself instead of a field that calls it"
    )


def not_called(name: str, layer: nn.Module) -> str:
    """The message about a steered layer that does more than multiply with its weight and add its bias."""
    return (
        f"field: {name} is steered, and what {type(layer).__name__} computes besides, as hooks do, only a call runs: "
        "hand the model an ordinary module that calls it instead of this field"
    )


def _numel(shape: Sequence[int]) -> int:
    return torch.Size(shape).numel()
