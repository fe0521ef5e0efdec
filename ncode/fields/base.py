"""Vector fields f(t, x, θ), the right-hand sides of x' = f(t, x, θ).

A field is an ordinary module with ordinary parameters. What makes it a *controllable* one is that any of its
parameters can be given from outside, per sample, under its name: those are the θ that a controller steers. The same
class therefore serves every model: a neural ODE steers none of them, N-CODE some or all.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ncode.arguments import arguments, instance, integers, optional

Theta = Mapping[str, Tensor]
"""Steered parameters by name; each tensor has the batch as its first dimension."""


class Field(nn.Module):
    """Base of the vector fields f(t, x, θ).

    A subclass registers its parameters as usual and implements :meth:`forward`, where it takes each parameter with
    ``self.value(name, theta)``: the controller's value when it is steered, its own otherwise. A steered one arrives
    with the batch as its first dimension, one value a sample; :mod:`ncode.fields.per_sample` applies either. A module
    such as ``nn.Linear``, called as it is, knows only its own parameters and cannot be steered.

    The velocity must be a function of (t, x, θ) alone, of x's shape and dtype, and leave x as it is. Layers that are
    more than that do something else here than in a network. *Dropout* draws a new mask at every evaluation: the field
    is random, an adaptive solver finds errors that no step is small enough for and takes thousands of them, and the
    adjoint, which would differentiate other masks than the loss has seen, refuses it; draw one mask a solve instead,
    as γ may. *Batch normalisation* in training couples the samples of a batch, so that a path depends on its
    neighbours, and counts every evaluation into its running statistics, rejected steps included. Other state that the
    field keeps may change between solves, but under the adjoint not before the backward pass.

    Args:
        shape: the shape of one sample's state x.
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

    @arguments(shape=integers(1), slots=optional(instance(Mapping)))
    def __init__(self, shape: Sequence[int], slots: Mapping[str, Sequence[int]] | None = None):
        super().__init__()
        self.shape = tuple(shape)
        self.slots = {name: tuple(size) for name, size in (slots or {}).items()}
        self.steered: dict[str, tuple[int, ...]] = {}

    def forward(self, t: Tensor, x: Float[Tensor, "batch *state"], theta: Theta) -> Float[Tensor, "batch *state"]:
        """The velocity f(t, x, θ) at time ``t``, per sample."""
        raise NotImplementedError(f"{type(self).__name__} must implement forward(t, x, theta)")

    def value(self, name: str, theta: Theta) -> Tensor:
        """The parameter called ``name``: the controller's when it is steered, otherwise the field's own."""
        return theta[name] if name in theta else self.get_parameter(name)

    def names(self, patterns: str | Iterable[str] = "*") -> list[str]:
        """The names of the parameters and slots that match ``patterns`` (shell wildcards), in the field's order.

        Raises:
            ValueError: when a pattern matches none.
        """
        patterns = [patterns] if isinstance(patterns, str) else list(patterns)
        if not patterns:
            raise ValueError("steer: names nothing")
        known = [*self.steered, *(name for name, _ in self.named_parameters()), *self.slots]
        known = list(dict.fromkeys(known))
        for pattern in patterns:
            if not any(fnmatchcase(name, pattern) for name in known):
                raise ValueError(f"steer: {pattern!r} matches none of {', '.join(known)}")
        return [name for name in known if any(fnmatchcase(name, pattern) for pattern in patterns)]

    def size(self, patterns: str | Iterable[str] = "*") -> int:
        """m, the number of control variables of one sample when ``patterns`` are steered."""
        return sum(_numel(self._shape_of(name)) for name in self.names(patterns))

    def release(self, patterns: str | Iterable[str] = "*") -> Float[Tensor, " m"]:
        """Hand parameters over to a controller, and return their present values as one vector.

        They stop being parameters of the field: a parameter has one owner, so an optimiser never sees a value
        that is not used. A parameter can be released once.

        Raises:
            ValueError: when a pattern matches nothing, a parameter has been released before, or it is tied: under its
                other name it would stay behind.
        """
        names = self.names(patterns)
        if taken := [name for name in names if name in self.steered]:
            raise ValueError(f"steer: {', '.join(taken)} already belongs to another model's controller")
        every = list(self.named_parameters(remove_duplicate=False))
        for name, other in itertools.permutations(every, 2):
            if name[0] in names and name[1] is other[1]:
                raise ValueError(f"steer: {name[0]} is tied to {other[0]}: a controller can steer neither")
        start = []
        for name in names:
            self.steered[name] = self._shape_of(name)
            if name in self.slots:
                start.append(torch.zeros(_numel(self.slots[name])))
                continue
            start.append(self.get_parameter(name).detach().reshape(-1))
            path, _, leaf = name.rpartition(".")
            self.get_submodule(path).register_parameter(leaf, None)
        return torch.cat([part.to(start[0]) for part in start])

    def unpack(self, theta: Float[Tensor, "batch m"]) -> dict[str, Tensor]:
        """θ's rows, cut into the steered parameters in their own shapes."""
        parts = theta.split([_numel(shape) for shape in self.steered.values()], dim=1)
        return {name: part.reshape(-1, *shape) for (name, shape), part in zip(self.steered.items(), parts, strict=True)}

    def _shape_of(self, name: str) -> tuple[int, ...]:
        if name in self.steered:
            return self.steered[name]
        return self.slots[name] if name in self.slots else tuple(self.get_parameter(name).shape)


class Reads(dict):
    """Steered values by name, which cross the names that a field reads off ``unread``.

    A dict as :meth:`Field.unpack` gives it, for fields that pass it on whole.

    :meta private:
    """

    def __init__(self, values: Theta, unread: set[str]):
        super().__init__(values)
        self.unread = unread

    def __getitem__(self, name):
        self.unread.discard(name)
        return super().__getitem__(name)

    def get(self, name, default=None):
        self.unread.discard(name)
        return super().get(name, default)

    def __iter__(self):
        # Without an iterator of its own, dict(theta) and {**theta} would copy the values unseen.
        return super().__iter__()

    def values(self):
        self.unread.clear()
        return super().values()

    def items(self):
        self.unread.clear()
        return super().items()

    def copy(self):
        return dict(self)

    def __or__(self, other):
        return dict(self) | other


def _numel(shape: Sequence[int]) -> int:
    return torch.Size(shape).numel()
