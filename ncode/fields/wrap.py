"""Any module as a vector field, any of its parameters steered."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any, cast

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.func import functional_call, vmap

from ncode.arguments import arguments, instance
from ncode.fields.base import Field, Theta


class Wrapped(Field):
    """The field f(t, x, θ) of an ordinary module: x' = module(x) or x' = module(t, x).

    Where nothing is steered the module is called as it is. Where some of its parameters are steered, it is called for
    every sample with that sample's values, by ``torch.func.functional_call`` under ``vmap``: what the module does to
    its parameters, such as hooks and parametrisations, it does to each sample's. Hand-written fields are faster.

    Its parameters keep the module's own names: ``"0.weight"`` of an ``nn.Sequential``.

    Args:
        module: its ``forward`` takes x (batch, …), or the time and x, and gives x' of x's shape. What hands all
            arguments on to a module that it wraps, as ``torch.compile`` does, takes what that one takes.
        shape: of one sample's state; ``None`` where any will do.

    Raises:
        ValueError: when ``forward`` takes neither (x) nor (t, x).

    Under ``vmap`` a module must not change buffers in place, as batch normalisation does in training, which would
    couple samples besides; PyTorch raises an error then.
    """

    @arguments(module=instance(nn.Module))
    def __init__(self, module: nn.Module, *, shape: Sequence[int] | None = None):
        super().__init__(shape)
        self.module = module
        self.timed = _timed(module)

    def forward(self, t: Tensor, x: Float[Tensor, "batch *state"], theta: Theta) -> Float[Tensor, "batch *state"]:
        if not theta:
            return self.module(t, x) if self.timed else self.module(x)
        own = t if t.dim() else t.expand(len(x))

        def one(values: Theta, time: Tensor, state: Tensor) -> Tensor:
            state = state.unsqueeze(0)
            arguments = (time, state) if self.timed else (state,)
            return functional_call(self.module, dict(values), arguments).squeeze(0)

        return vmap(one, randomness="different")(dict(theta), own, x)

    def unpack(self, theta: Float[Tensor, "batch m"]) -> dict[str, Tensor]:
        """θ's rows, cut into the steered parameters, each in its own shape."""
        parts = theta.split([torch.Size(shape).numel() for shape in self.steered.values()], dim=1)
        return {name: part.reshape(-1, *shape) for (name, shape), part in zip(self.steered.items(), parts, strict=True)}

    def _root(self) -> nn.Module:
        return self.module


def _timed(module: nn.Module) -> bool:
    """Whether a module takes (t, x), and not (x) alone."""
    needed, any_ = _wanted(module)
    if any_ and isinstance(inner := _behind(module), nn.Module):
        # A field's θ may be left out where it is called.
        return isinstance(inner, Field) or _timed(inner)
    if len(needed) > 2 or (not needed and not any_):
        raise ValueError(
            f"field: {type(module).__name__}.forward takes ({', '.join(needed)}): a module that "
            "is a field takes (x) or (t, x); an ncode.Field takes (t, x, theta)"
        )
    return len(needed) == 2


def _wanted(module: nn.Module) -> tuple[list[str], bool]:
    """The arguments that a module needs by place, by name, and whether it takes any number of them."""
    if isinstance(module, torch.jit.ScriptModule):
        # What was traced has a schema alone; the module itself comes first.
        _, *given = cast(Any, module.forward).schema.arguments
        return [one.name for one in given if not one.has_default_value()], False
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    given = inspect.signature(module.forward).parameters.values()
    needed = [one.name for one in given if one.kind in kinds and one.default is inspect.Parameter.empty]
    return needed, any(one.kind is inspect.Parameter.VAR_POSITIONAL for one in given)


def _behind(module: nn.Module) -> object:
    """What a wrapper hands its arguments on to: ``torch.compile`` calls it so, averages and parallel modules so."""
    return getattr(module, "_orig_mod", None) or getattr(module, "module", None)
