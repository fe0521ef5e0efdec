"""A look at how a field takes its control, by one vector-Jacobian product of one evaluation."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from ncode.fields.base import Field, Theta
from ncode.modes import evaluating


def look(field: Field, t: float, x: Tensor, theta: Tensor, inputs: Callable[[Tensor], Theta]) -> tuple[set[str], bool]:
    """The steered values that the velocity at (t, x) depends on, and whether one sample's depends on another's.

    The field is evaluated once, in evaluation mode: no dropout, no batch statistics, no random numbers used up.

    Args:
        theta: the control, (batch, m).
        inputs: what else the field reads by name, at a time.
    """
    # What inference mode made is copied outside of it: it could not take part in a gradient.
    with torch.inference_mode(False), torch.enable_grad(), torch.random.fork_rng(devices=[]):
        x, values = x.detach().clone(), field.unpack(theta.detach().clone().requires_grad_())
        time = torch.as_tensor(t, dtype=x.dtype, device=x.device)
        others = {name: value.detach().clone() for name, value in inputs(time).items()}
        with evaluating(field):
            velocity = field(time, x, {**values, **others})
        if not velocity.requires_grad:
            return set(), False
        # The largest state: at zero, a parameter that multiplies it could not be seen.
        row = int(x.detach().reshape(len(x), -1).abs().sum(1).argmax())
        one = velocity[row].reshape(-1)
        # Different weights, so that no sum that the field keeps hides its parts.
        weights = torch.linspace(1, 2, len(one), dtype=one.dtype, device=one.device)
        gradients = torch.autograd.grad(one, list(values.values()), weights, allow_unused=True)
    found = {name: part for name, part in zip(values, gradients, strict=True) if part is not None}
    if not found:
        return set(), False
    sizes = torch.cat([part.reshape(len(x), -1) for part in found.values()], dim=1).abs().amax(1)
    own, others = sizes[row], torch.cat([sizes[:row], sizes[row + 1 :]])
    # Larger than rounding in a sum over the batch could make it.
    return set(found), len(others) > 0 and bool(others.max() > 1e-6 * own)
