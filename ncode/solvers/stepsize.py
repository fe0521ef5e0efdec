"""How long the next step is: the I and PI controllers."""

from __future__ import annotations

import torch
from torch import Tensor

SAFETY, SHRINK, GROW = 0.9, 0.2, 10.0
"""A step is aimed at SAFETY of what the tolerance allows, and becomes at most SHRINK or GROW of the last."""


class Integral:
    """The I controller: a step's error alone decides the next length, h (1/error)^(1/order) (torchdiffeq's)."""

    def __init__(self, order: int):
        self.order = order

    def __call__(self, error: float) -> float:
        """What to multiply the length by, given the step's error over what is allowed; above 1 it was rejected."""
        if error == 0:
            return GROW
        least = 1.0 if error < 1 else SHRINK
        return min(GROW, max(SAFETY * error ** (-1 / self.order), least))

    def each(self, error: Tensor, memory: Tensor) -> tuple[Tensor, Tensor]:
        """The same for many errors at once: the factors, and what is to be remembered of an accepted step."""
        factor = (SAFETY * error ** (-1 / self.order)).clamp(max=GROW)
        return torch.maximum(factor, torch.where(error < 1, 1.0, SHRINK)), memory


class Proportional:
    """The PI controller: the last step's error damps the answer to this one's (Hairer, Nørsett and Wanner, IV.2).

    h error^(-0.7/order) last^(0.4/order) after an accepted step, as I after a rejected one. It rejects fewer steps
    where stability and not accuracy limits them.
    """

    def __init__(self, order: int):
        self.order, self.last = order, 1.0

    def __call__(self, error: float) -> float:
        """As :meth:`Integral.__call__`."""
        if error > 1:
            return max(SAFETY * error ** (-1 / self.order), SHRINK)
        error = max(error, 1e-10)
        factor = SAFETY * error ** (-0.7 / self.order) * self.last ** (0.4 / self.order)
        self.last = max(error, 1e-4)
        return min(GROW, max(factor, SHRINK))

    def each(self, error: Tensor, memory: Tensor) -> tuple[Tensor, Tensor]:
        """As :meth:`Integral.each`; ``memory`` is the errors of the last accepted steps, 1 before the first."""
        small = error.clamp(min=1e-10)
        after = SAFETY * small ** (-0.7 / self.order) * memory ** (0.4 / self.order)
        factor = torch.where(error > 1, SAFETY * error ** (-1 / self.order), after).clamp(SHRINK, GROW)
        return factor, error.clamp(min=1e-4)


CONTROLLERS = {"I": Integral, "PI": Proportional}
